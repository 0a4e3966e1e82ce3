import type { StageDefinition } from "../common/stage.js";

/** What the tokens depend on. */
export const preprocessDefinition: StageDefinition = {
  name: "preprocess",
  version: 3,
  inputs: ["model", "dataset"],
  settings: ({ preprocess }) => preprocess,
};
