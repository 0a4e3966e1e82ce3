import type { StageDefinition } from "../common/stage.js";

/** What an evaluation depends on. */
export const evaluateDefinition: StageDefinition = {
  name: "evaluate",
  version: 1,
  inputs: ["model", "tokens", "tuned"],
  settings: ({ evaluate }) => evaluate,
};
