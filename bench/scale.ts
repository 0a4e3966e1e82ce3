import { fileURLToPath } from "node:url";
import { planStep } from "../core/training/step-plan.js";
import { outputNamed } from "../core/stages/results.js";
import { openTokens } from "../infra/dataset/tokens.js";
import { median, short, table } from "./figures.js";
import { stepFlops } from "./flops.js";
import { modelOf, settings, type Job } from "./job.js";
import { makeInputs } from "./made.js";
import { runTraining } from "./run.js";

/** How a step's time grows with the job, compared with its arithmetic. */

/** One job's step, the median of all but the first. */
export interface ScaleFigures {
  readonly job: Job;
  readonly seconds: number;
  /** operations of the step's matrix products */
  readonly flops: number;
}

/** Small, but large enough that matrix products take most of the time. */
const BASE: Job = { width: 256, layers: 4, heads: 4, rotary: 32, vocabulary: 8192, length: 128, rows: 2, dataset: null };

/** What grows, one at a time: the base is doubled, and doubled again. */
const GROWING = ["layers", "width", "length", "rows"] as const;

/** Trains each job for `steps` steps. A wider model has more heads of the same width. */
export async function benchScale(
  { workers, steps }: { readonly workers: number; readonly steps: number },
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<ScaleFigures[]> {
  const grown = GROWING.flatMap((name) =>
    [2, 4].map((factor): Job => ({ ...BASE, [name]: BASE[name] * factor, ...(name === "width" && { heads: BASE.heads * factor }) })),
  );
  const figures: ScaleFigures[] = [];
  for (const job of [BASE, ...grown]) {
    signal.throwIfAborted();
    const config = settings(job, steps, steps, 0);
    const inputs = await makeInputs(job, config.train.shards * job.rows * steps, root, signal);
    const { train: split } = await openTokens(fileURLToPath(outputNamed(inputs, "tokens").uri));
    const run = await runTraining(inputs, config, workers, root, signal, () => undefined);
    const seconds = median(run.steps.slice(1).map((record) => record.seconds));
    figures.push({ job, seconds, flops: stepFlops(modelOf(job), planStep(split, config.train, 1)) });
    say(`${describe(job)}: ${short(seconds)} s`);
  }
  return figures;
}

/** The figures as a table; growth is relative to the first line. */
export function showScale(figures: readonly ScaleFigures[]): string {
  const [base] = figures;
  const head = ["job", "step", "arithmetic", "time grew", "arithmetic grew", "a second"];
  const rows = figures.map(({ job, seconds, flops }) => [
    describe(job),
    `${short(seconds)} s`,
    `${short(flops / 1e9)} GFLOP`,
    `${short(seconds / base!.seconds)} x`,
    `${short(flops / base!.flops)} x`,
    `${short(flops / seconds / 1e9)} GFLOP`,
  ]);
  return table([head, ...rows]);
}

function describe({ layers, width, length, rows }: Job): string {
  return `${layers} layers, ${width} wide, 8 x ${rows} rows of ${length}`;
}
