import { UserError } from "../core/errors.js";
import type { StepPlan } from "../core/training/step-plan.js";

/** The error of a step whose loss or gradient is not finite, twice: it names the step and the rows of the shards where that shows. */
export function nonFiniteError(
  plan: StepPlan,
  step: number,
  { loss, norm }: { readonly loss: number | string; readonly norm: number | string },
  bad: ReadonlySet<number>,
): UserError {
  const shards = [...bad].sort((a, b) => a - b);
  const rows = plan.microBatches
    .flatMap((batch) => batch.shards.filter(({ shard }) => bad.has(shard)).flatMap((part) => part.rows.map((row) => row.source)))
    .sort((a, b) => a - b);
  return new UserError(
    "a training step has a loss or gradient that is not finite, twice; nothing was updated. Look at these rows, or lower train.learningRate",
    { step, loss: String(loss), norm: String(norm), shards: shards.join(" "), rows: rows.join(" ") },
  );
}
