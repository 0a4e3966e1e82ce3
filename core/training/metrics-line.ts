import type { RunConfig } from "../config/schema.js";
import { learningRateAt } from "./learning-rate.js";

/** A line of `metrics.jsonl`: what one step of a run came to. Only figures that are finite; null or absent where there is none. */
export interface MetricsLine {
  /** steps done after it */
  readonly step: number;
  /** mean over the step's labels; null: it has none, and updated nothing */
  readonly loss: number | null;
  /** before clipping */
  readonly gradientNorm: number | null;
  /** of the step's update */
  readonly learningRate: number;
  readonly tokensPerSecond: number;
  readonly seconds: number;
  /** loss on the test rows after it, where it was measured; null: it is not finite */
  readonly evalLoss?: number | null;
  /** epochs done after it */
  readonly epoch: number;
  /** number of the attempt that computed it */
  readonly generation: number;
  /** when it ended, in seconds since 1970 */
  readonly time: number;
}

/** What a line takes of a step's record. */
export interface MeasuredStep {
  readonly loss: number | null;
  readonly norm: number | null;
  readonly seconds: number;
  readonly tokens: number;
  readonly labels: number;
  readonly evaluation?: { readonly loss: number | null };
}

/** What the lines of a run have in common. */
export interface MetricsRun {
  readonly train: RunConfig["train"];
  readonly totalSteps: number;
  readonly stepsPerEpoch: number;
}

/** The line of the step after which `step` steps are done. */
export function metricsLine(
  { train, totalSteps, stepsPerEpoch }: MetricsRun,
  { loss, norm, seconds, tokens, labels, evaluation }: MeasuredStep,
  { step, generation, time }: Pick<MetricsLine, "step" | "generation" | "time">,
): MetricsLine {
  return {
    step,
    // an earlier version wrote 0 for a step without labels
    loss: labels === 0 ? null : loss,
    gradientNorm: labels === 0 ? null : norm,
    learningRate: learningRateAt(train, step - 1, totalSteps),
    tokensPerSecond: tokens / seconds,
    seconds,
    ...(evaluation !== undefined && { evalLoss: evaluation.loss }),
    epoch: step / stepsPerEpoch,
    generation,
    time,
  };
}
