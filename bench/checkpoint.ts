import { parseRunConfig, type RunConfig } from "../core/config/schema.js";
import { median, percent, short } from "./figures.js";
import { makeInputs } from "./made.js";
import { settings, type Job } from "./job.js";
import { runTraining } from "./run.js";

/** What checkpoints cost, by steps with and without one being written beside them, in one run. */
export interface CheckpointFigures {
  /** seconds of a step by its place after a checkpoint; the last is far from any */
  readonly steps: readonly number[];
  /** from the first byte to the commit, beside training */
  readonly writing: number;
  /** by how much a checkpoint makes the steps after it longer, in all */
  readonly cost: number;
  /** steps between checkpoints by default: 200, or those of ten minutes */
  readonly interval: number;
  /** part of the time that goes into checkpoints at that interval */
  readonly share: number;
}

/** Trains with a checkpoint after every `interval` steps, `count` of them. */
export async function benchCheckpoint(
  job: Job,
  { workers, interval, count }: { readonly workers: number; readonly interval: number; readonly count: number },
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<CheckpointFigures> {
  // a first interval to warm up, and a last step, whose checkpoint nothing is beside
  const total = (count + 1) * interval + 1;
  const config = settings(job, total, interval, 0);
  const { shards } = config.train;
  say("making a model and rows");
  const inputs = await makeInputs(job, shards * job.rows * total, root);
  const run = await runTraining(inputs, config, workers, root, signal, say);
  const seconds = run.steps.map((step) => step.seconds);
  return checkpointFigures(
    seconds,
    run.checkpoints.map((checkpoint) => checkpoint.seconds),
    interval,
    parseRunConfig({}).train,
  );
}

/** The figures from every step's seconds, a checkpoint after each `interval` of them, and those that the writing took. */
export function checkpointFigures(
  seconds: readonly number[],
  writing: readonly number[],
  interval: number,
  defaults: RunConfig["train"],
): CheckpointFigures {
  const steps = Array.from({ length: interval }, (_, place) =>
    median(seconds.filter((_each, step) => step >= interval && step % interval === place)),
  );
  const quiet = steps.at(-1)!;
  const cost = steps.reduce((sum, step) => sum + step - quiet, 0);
  const usual = Math.max(1, Math.min(defaults.checkpointEverySteps, Math.round((defaults.checkpointEveryMinutes * 60) / quiet)));
  return { steps, writing: median(writing), cost, interval: usual, share: cost / (usual * quiet + cost) };
}

/** The figures as a few lines. */
export function showCheckpoint({ steps, writing, cost, interval, share }: CheckpointFigures): string {
  return [
    `step       ${short(steps.at(-1)!)} s without a checkpoint being written; after one: ${steps.slice(0, -1).map(short).join(", ")} s`,
    `checkpoint ${short(writing)} s beside training, which makes steps ${short(cost)} s longer in all`,
    `share      ${percent(share)} of the time at the default interval, here ${interval} steps`,
  ].join("\n");
}
