import type { StepPlan } from "../../../core/training/step-plan.js";
import type { Evaluation } from "../../engine.js";
import { blocksForward } from "./blocks.js";
import { headLosses, shareHidden } from "./head.js";
import { hostRows } from "./hosted-rows.js";
import { targetsOf } from "./step.js";
import type { Workplace } from "./workplace.js";

/** The loss on rows that are not trained on: the forward half of a step, without dropout. */

/**
 * Measures the mean loss over a plan's labels with the weights as they are, the same on every rank: sums go over micro-batches
 * and shards in order, in float64. Waits first until every owner has updated its slices; nothing that is trained is touched.
 */
export async function evaluate(place: Workplace, plan: StepPlan): Promise<Evaluation> {
  const started = performance.now();
  place.barrier(undefined, true);
  let sum = 0;
  for (const batch of plan.microBatches) {
    const rows = batch.shards.filter(({ shard }) => place.hosted.includes(shard)).map((part) => hostRows(place, part, 0));
    await blocksForward(place, rows);
    await shareHidden(place, rows);
    place.barrier();
    for (const loss of (await headLosses(place, batch, targetsOf(batch))).losses_N) sum += loss;
  }
  const loss = sum / plan.positions;
  return { loss: Number.isFinite(loss) ? loss : null, labels: plan.positions, seconds: (performance.now() - started) / 1000 };
}
