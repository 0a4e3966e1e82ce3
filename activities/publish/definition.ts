import type { StageDefinition } from "../common/definition.js";

/** What is published depends on every earlier output, and on where it goes. */
export const publishDefinition: StageDefinition<"publish"> = {
  name: "publish",
  version: 10,
  inputs: ["model", "dataset", "tokens", "tuned", "report"],
  // the tuned model is checked file by file while it is read
  reads: ["report"],
  // what was published before there was a choice keeps its key
  settings: ({ publish: { merge, sign, ...publish }, model, dataset }, override) => ({
    ...publish,
    ...(merge && { merge }),
    // which key it is, a variable or a file says; a config that an earlier version planned has no such field
    ...(sign != null && { sign: true }),
    model: model.source,
    dataset: dataset.source,
    ...(override && { override }),
  }),
};
