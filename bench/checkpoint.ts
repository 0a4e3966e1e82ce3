import { parseRunConfig, type RunConfig } from "../core/config/schema.js";
import { UserError } from "../core/errors.js";
import { median, percent, short } from "./figures.js";
import { makeInputs } from "./made.js";
import { settings, type Job } from "./job.js";
import { runTraining } from "./run.js";

/** What checkpoints cost, by steps with and without one being written beside them, in one run. */
export interface CheckpointFigures {
  /** seconds of a step that no checkpoint is written beside */
  readonly step: number;
  /** seconds from a checkpoint's first byte to its commit, while training goes on */
  readonly writing: number;
  /** seconds that it adds to the steps meanwhile, against the rest of their own interval: noise may make it negative */
  readonly added: number;
  /** steps between checkpoints by default: 200, or those of ten minutes */
  readonly interval: number;
  /** part of the time at that interval: as measured, and if training stood still during the writing */
  readonly share: number;
  readonly most: number;
}

/** Trains with a checkpoint after every `interval` steps, `count` of them. */
export async function benchCheckpoint(
  job: Job,
  { workers, interval, count }: { readonly workers: number; readonly interval: number; readonly count: number },
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<CheckpointFigures> {
  if (interval < 2)
    throw new UserError("an interval needs a step with and one without a checkpoint", {
      field: "--interval",
      expected: "2 or more",
      got: interval,
    });
  // a first interval to warm up, and a last step: the checkpoint of a run's end is beside nothing
  const total = (count + 1) * interval + 1;
  const config = settings(job, total, interval, 0);
  const { shards } = config.train;
  say("making a model and rows");
  const inputs = await makeInputs(job, shards * job.rows * total, root, signal);
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
  const written = median(writing);
  const beside = Math.min(interval - 1, Math.ceil(written / median(seconds)));
  const intervals = Array.from({ length: Math.floor(seconds.length / interval) - 1 }, (_, index) =>
    seconds.slice((index + 1) * interval, (index + 2) * interval),
  );
  const added = median(
    intervals.map((steps) => steps.slice(0, beside).reduce((sum, step) => sum + step, 0) - beside * median(steps.slice(beside))),
  );
  const step = median(intervals.flatMap((steps) => steps.slice(beside)));
  const usual = Math.max(1, Math.min(defaults.checkpointEverySteps, Math.round((defaults.checkpointEveryMinutes * 60) / step)));
  return { step, writing: written, added, interval: usual, share: added / (usual * step + added), most: written / (usual * step) };
}

/** The figures as a few lines. */
export function showCheckpoint({ step, writing, added, interval, share, most }: CheckpointFigures): string {
  return [
    `step       ${short(step)} s where no checkpoint is written beside it`,
    `checkpoint ${short(writing)} s beside training, which add ${short(added)} s to the steps meanwhile`,
    `share      ${percent(share)} of the time at the default interval, here ${interval} steps; at most ${percent(most)}, if training stood still meanwhile`,
  ].join("\n");
}
