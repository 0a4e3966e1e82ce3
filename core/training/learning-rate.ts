import type { RunConfig } from "../config/schema.js";

/** The learning rate at step index `step` (0-based) of `totalSteps`, as in transformers' schedulers: with a warm-up, step 0 has rate 0. */
export function learningRateAt(
  train: Pick<RunConfig["train"], "learningRate" | "schedule" | "warmupSteps">,
  step: number,
  totalSteps: number,
): number {
  const { learningRate, schedule, warmupSteps } = train;
  if (step < warmupSteps) return learningRate * (step / warmupSteps);
  const length = Math.max(1, totalSteps - warmupSteps);
  switch (schedule) {
    case "constant":
      return learningRate;
    case "linear":
      return learningRate * Math.max(0, (totalSteps - step) / length);
    case "cosine":
      return learningRate * Math.max(0, 0.5 * (1 + Math.cos((Math.PI * (step - warmupSteps)) / length)));
  }
}
