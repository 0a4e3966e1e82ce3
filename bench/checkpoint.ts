import { parseRunConfig, type RunConfig } from "../core/config/schema.js";
import { UserError } from "../core/errors.js";
import { median, percent, short } from "./figures.js";
import { makeInputs } from "./made.js";
import { settings, type Job } from "./job.js";
import { runTraining } from "./run.js";

/** What checkpoints cost: one run's steps beside which a checkpoint is written, compared with its other steps. */
export interface CheckpointFigures {
  /** seconds of a step beside which no checkpoint is written */
  readonly step: number;
  /** seconds from a checkpoint's first byte to its commit, while training goes on */
  readonly writing: number;
  /** seconds that it adds to the steps meanwhile, compared with the rest of their interval; noise may make it negative */
  readonly added: number;
  /** steps between checkpoints at the default settings: 200, or as many as ten minutes hold */
  readonly interval: number;
  /** part of the time that checkpoints take at that interval, as measured */
  readonly share: number;
  /** the same if training stood still while a checkpoint is written */
  readonly most: number;
}

/** Trains with a checkpoint after every `interval` steps, `count` of them. Throws UserError if `interval` is below 2. */
export async function benchCheckpoint(
  job: Job,
  { workers, interval, count }: { readonly workers: number; readonly interval: number; readonly count: number },
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<CheckpointFigures> {
  if (interval < 2)
    throw new UserError("an interval needs a step with a checkpoint beside it and one without", {
      field: "--interval",
      expected: "2 or more",
      got: interval,
    });
  // the first interval warms up; the last step is extra, because no step runs beside the checkpoint at a run's end
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

/** The figures from each step's seconds and from each checkpoint's seconds of writing; a checkpoint follows every `interval` steps. */
export function checkpointFigures(
  seconds: readonly number[],
  writing: readonly number[],
  interval: number,
  defaults: RunConfig["train"],
): CheckpointFigures {
  const written = median(writing);
  const disturbed = Math.min(interval - 1, Math.ceil(written / median(seconds)));
  const intervals = Array.from({ length: Math.floor(seconds.length / interval) - 1 }, (_, index) =>
    seconds.slice((index + 1) * interval, (index + 2) * interval),
  );
  const added = median(
    intervals.map((steps) => steps.slice(0, disturbed).reduce((sum, step) => sum + step, 0) - disturbed * median(steps.slice(disturbed))),
  );
  const step = median(intervals.flatMap((steps) => steps.slice(disturbed)));
  const usual = Math.max(1, Math.min(defaults.checkpointEverySteps, Math.round((defaults.checkpointEveryMinutes * 60) / step)));
  return { step, writing: written, added, interval: usual, share: added / (usual * step + added), most: written / (usual * step) };
}

/** The figures as a few lines. */
export function showCheckpoint({ step, writing, added, interval, share, most }: CheckpointFigures): string {
  return [
    `step       ${short(step)} s while no checkpoint is written`,
    `checkpoint ${short(writing)} s to write beside training, which adds ${short(added)} s to the steps meanwhile`,
    `share      ${percent(share)} of the time at the default interval, here ${interval} steps; at most ${percent(most)}, if training stood still meanwhile`,
  ].join("\n");
}
