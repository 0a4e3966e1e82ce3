import type { StageDefinition } from "../common/definition.js";

/** What an evaluation depends on. */
export const evaluateDefinition: StageDefinition<"evaluate"> = {
  name: "evaluate",
  version: 1,
  inputs: ["model", "tokens", "tuned"],
  settings: ({ evaluate }) => evaluate,
};
