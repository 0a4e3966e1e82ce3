import type { FromParent, ToParent } from "../../workers/serve-rank.js";

/** A rank's process that only says which GPU it was given, as its failure. */
process.once("message", (_work: FromParent) => {
  const message = `given ${process.env["CUDA_VISIBLE_DEVICES"]!}`;
  process.send!({ kind: "failed", name: "UserError", message } satisfies ToParent, () => process.exit(0));
});
