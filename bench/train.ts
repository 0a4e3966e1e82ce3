import type { StepRecord, TimeSpent } from "../activities/train/types.js";
import { UserError } from "../core/errors.js";
import { median, percent, short } from "./figures.js";
import { stepFlops } from "./flops.js";
import { makeInputs } from "./made.js";
import { parameterCount } from "../core/model/names.js";
import { modelOf, settings, type Job } from "./job.js";
import { productSpeed, type Product } from "./product.js";
import { runTraining } from "./run.js";

/** How fast a job trains, against the matrix products of the same machine at the same time. */
export interface TrainFigures {
  readonly parameters: number;
  readonly workers: number;
  readonly tokensPerSecond: number;
  readonly lossTokensPerSecond: number;
  readonly rowsPerSecond: number;
  /** each step's, but those of every round's first one */
  readonly seconds: readonly number[];
  /** of worker 0's compute thread */
  readonly shares: Readonly<Record<keyof TimeSpent | "other", number>>;
  /** operations a second in the steps' matrix products, all workers together */
  readonly reached: number;
  /** of the faster of two products: a square one, and the blocks' largest */
  readonly best: number;
}

/** Rounds of training between products of matrices; `steps` of each round, the first of which is not counted. */
export async function benchTrain(
  job: Job,
  { workers, rounds, steps }: { readonly workers: number; readonly rounds: number; readonly steps: number },
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<TrainFigures> {
  if (steps < 2)
    throw new UserError("a round's first step is not counted, so it needs another", {
      field: "--steps",
      expected: "2 or more",
      got: steps,
    });
  const config = modelOf(job);
  const { shards } = settings(job, steps, steps, 0).train;
  say("making a model and rows");
  const inputs = await makeInputs(job, shards * job.rows * steps, root);
  const products: readonly Product[] = [
    { m: 1024, k: 1024, n: 1024 },
    { m: job.rows * job.length, k: config.width, n: config.innerWidth },
  ];
  const speeds: number[][] = products.map(() => []);
  const records: StepRecord[] = [];
  const multiply = async (): Promise<void> => {
    for (const [index, product] of products.entries()) speeds[index]!.push(await productSpeed(product, workers));
  };
  await multiply();
  for (let round = 0; round < rounds; round++) {
    signal.throwIfAborted();
    const run = await runTraining(inputs, settings(job, steps, steps, round), workers, root, signal, (line) =>
      say(`round ${round + 1} of ${rounds}: ${line}`),
    );
    records.push(...run.steps.slice(1));
    await multiply();
  }
  const rate = (of: (record: StepRecord) => number): number => median(records.map((record) => of(record) / record.seconds));
  const flops = stepFlops(config, { shards, rows: job.rows, length: job.length, positions: records[0]!.labels });
  return {
    parameters: parameterCount(config),
    workers,
    tokensPerSecond: rate((record) => record.tokens),
    lossTokensPerSecond: rate((record) => record.labels),
    rowsPerSecond: rate((record) => record.rows),
    seconds: records.map((record) => record.seconds),
    shares: sharesOf(records),
    reached: rate(() => flops),
    best: Math.max(...speeds.map(median)),
  };
}

/** What part of the time went where. */
export function sharesOf(records: readonly StepRecord[]): TrainFigures["shares"] {
  const total = records.reduce((sum, { seconds }) => sum + seconds, 0);
  const share = (on: keyof TimeSpent): number => records.reduce((sum, { spent }) => sum + spent[on], 0) / total;
  const known = { graphs: share("graphs"), reduction: share("reduction"), optimizer: share("optimizer"), waiting: share("waiting") };
  return { ...known, other: 1 - known.graphs - known.reduction - known.optimizer - known.waiting };
}

/** The figures as a few lines. */
export function showTrain(job: Job, figures: TrainFigures): string {
  const { seconds, shares, reached, best, workers } = figures;
  const parts = Object.entries(shares).map(([name, share]) => `${name} ${percent(share)}`);
  return [
    `model      ${job.width} wide, ${job.layers} layers, ${job.heads} heads, rotary ${job.rotary}, ${job.vocabulary} words: ${short(figures.parameters / 1e6)} M parameters`,
    `workers    ${workers}, one thread each; a step is 8 shards x ${job.rows} rows of ${job.length} tokens`,
    `tokens/s   ${short(figures.tokensPerSecond)}, with loss ${short(figures.lossTokensPerSecond)}; rows/s ${short(figures.rowsPerSecond)}`,
    `step       ${short(median(seconds))} s, the median of ${seconds.length} from ${short(Math.min(...seconds))} to ${short(Math.max(...seconds))}`,
    `time       ${parts.join(", ")} (of worker 0)`,
    `arithmetic ${short(reached / 1e9)} GFLOP/s, ${percent(reached / best)} of the best matrix product's ${short(best / 1e9)}`,
  ].join("\n");
}
