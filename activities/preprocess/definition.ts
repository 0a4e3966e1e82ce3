import type { StageDefinition } from "../common/definition.js";

/** What the tokens depend on. */
export const preprocessDefinition: StageDefinition<"preprocess"> = {
  name: "preprocess",
  version: 5,
  inputs: ["model", "dataset"],
  settings: ({ preprocess, dataset: { format, columns } }) => ({ ...preprocess, format, columns }),
};
