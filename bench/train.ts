import { fileURLToPath } from "node:url";
import type { StepRecord } from "../engines/engine.js";
import { sharedBytes } from "../engines/onnx/needs.js";
import type { TimeSpent } from "../engines/onnx/times.js";
import { UserError } from "../core/errors.js";
import { parameterCount } from "../core/model/gptj/parameters.js";
import { capacityOf, planStep, type StepPlan } from "../core/training/step-plan.js";
import { outputNamed } from "../core/stages/stage.js";
import { openTokens } from "../infra/dataset/tokens.js";
import { bytes as readable } from "../core/units.js";
import { median, percent, short } from "./figures.js";
import { stepFlops } from "./flops.js";
import { makeInputs } from "./made.js";
import { modelOf, settings, type Job } from "./job.js";
import { children, watched } from "./memory.js";
import { productSpeed, type Product } from "./product.js";
import { batchesOf, comparePeer, Peer, type PeerFigures, type PeerName, type PeerStep } from "./pytorch.js";
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
  /** all workers' own memory at its peak, and the shared once; bytes */
  readonly memory: number;
  readonly peers: readonly PeerFigures[];
}

/** What is measured, and how often. */
export interface TrainBench {
  readonly workers: number;
  readonly rounds: number;
  /** of each round; the first is not counted */
  readonly steps: number;
  /** a Python with torch, and how it trains; none: only this engine is measured */
  readonly python: string | null;
  readonly peers: readonly PeerName[];
}

/** Rounds of training between products of matrices and, where there are peers, a step of each on the rows of the round's last step. */
export async function benchTrain(
  job: Job,
  { workers, rounds, steps, python, peers: names }: TrainBench,
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
  const inputs = await makeInputs(job, shards * job.rows * steps, root, signal);
  const [model, tokens] = ["model", "tokens"].map((name) => fileURLToPath(outputNamed(inputs, name).uri)) as [string, string];
  const { train: split } = await openTokens(tokens);
  const planOf = (round: number, step: number): StepPlan => planStep(split, settings(job, steps, steps, round).train, step);
  const products: readonly Product[] = [
    { m: 1024, k: 1024, n: 1024 },
    { m: job.rows * job.length, k: config.width, n: config.innerWidth },
  ];
  const speeds: number[][] = products.map(() => []);
  const multiply = async (): Promise<void> => {
    for (const [index, product] of products.entries()) speeds[index]!.push(await productSpeed(product, workers));
  };
  const shared = sharedBytes(config, shards, capacityOf(split, settings(job, steps, steps, 0).train));
  const records: StepRecord[] = [];
  const reached: number[] = [];
  const memory: number[] = [];
  const peers: Peer[] = [];
  const theirs = new Map<PeerName, PeerStep[]>(names.map((name) => [name, []]));
  const ours: StepRecord[] = [];
  const peerSteps = async (round: number, step: number): Promise<void> => {
    for (const peer of peers) {
      const told = await peer.step(batchesOf(planOf(round, step), peer.name, job));
      theirs.get(peer.name)!.push(told);
      say(`PyTorch ${peer.name}: ${short(told.seconds)} s`);
    }
  };
  try {
    for (const name of names) peers.push(await Peer.start(python!, name, model, signal));
    const others = new Set(peers.map(({ pid }) => pid));
    // the first step of each warms it up, and its loss must be ours
    await peerSteps(0, 0);
    for (let round = 0; round < rounds; round++) {
      signal.throwIfAborted();
      await multiply();
      const { result: run, all } = await watched(
        () => children().filter((process) => !others.has(process)),
        () =>
          runTraining(inputs, settings(job, steps, steps, round), workers, root, signal, (line) =>
            say(`round ${round + 1} of ${rounds}: ${line}`),
          ),
        WATCH_MS,
      );
      memory.push(all + shared);
      ours.push(...(round === 0 ? [run.steps[0]!] : []), run.steps.at(-1)!);
      records.push(...run.steps.slice(1));
      reached.push(...run.steps.slice(1).map(({ seconds }, index) => stepFlops(config, planOf(round, index + 1)) / seconds));
      await peerSteps(round, steps - 1);
    }
    await multiply();
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()));
  }
  const rate = (of: (record: StepRecord) => number): number => median(records.map((record) => of(record) / record.seconds));
  return {
    parameters: parameterCount(config),
    workers,
    tokensPerSecond: rate((record) => record.tokens),
    lossTokensPerSecond: rate((record) => record.labels),
    rowsPerSecond: rate((record) => record.rows),
    seconds: records.map((record) => record.seconds),
    shares: sharesOf(records),
    reached: median(reached),
    best: Math.max(...speeds.map(median)),
    memory: Math.max(...memory),
    peers: peers.map((peer) => comparePeer(peer, ours, theirs.get(peer.name)!)),
  };
}

/** Looking at processes costs time, which is being measured. */
const WATCH_MS = 250;

/** What part of the time went where. */
export function sharesOf(records: readonly StepRecord[]): TrainFigures["shares"] {
  const total = records.reduce((sum, { seconds }) => sum + seconds, 0);
  const share = (on: keyof TimeSpent): number => records.reduce((sum, { spent }) => sum + (spent[on] ?? 0), 0) / total;
  const known = { graphs: share("graphs"), reduction: share("reduction"), optimizer: share("optimizer"), waiting: share("waiting") };
  return { ...known, other: 1 - known.graphs - known.reduction - known.optimizer - known.waiting };
}

/** The figures as a few lines. */
export function showTrain(job: Job, figures: TrainFigures): string {
  const { seconds, shares, reached, best, workers } = figures;
  const parts = Object.entries(shares).map(([name, share]) => `${name} ${percent(share)}`);
  const rows = job.dataset === null ? `${job.length} tokens` : `${job.dataset}, at most ${job.length} tokens each`;
  return [
    `model      ${job.width} wide, ${job.layers} layers, ${job.heads} heads, rotary ${job.rotary}, ${job.vocabulary} words: ${short(figures.parameters / 1e6)} M parameters`,
    `workers    ${workers}, one thread each; a step is 8 shards x ${job.rows} rows of ${rows}`,
    `tokens/s   ${short(figures.tokensPerSecond)}, with loss ${short(figures.lossTokensPerSecond)}; rows/s ${short(figures.rowsPerSecond)}`,
    `step       ${short(median(seconds))} s, the median of ${seconds.length} from ${short(Math.min(...seconds))} to ${short(Math.max(...seconds))}`,
    `time       ${parts.join(", ")} (of worker 0)`,
    `arithmetic ${short(reached / 1e9)} GFLOP/s, ${percent(reached / best)} of the best matrix product's ${short(best / 1e9)}`,
    `memory     ${readable(figures.memory)}, all workers and what they share`,
    ...figures.peers.map(
      (peer) =>
        `${peer.name.padEnd(10)} ${short(peer.tokensPerSecond)} tokens/s, ${short(peer.rowsPerSecond)} rows/s in ${readable(peer.memory)} (${peer.versions}): Roslin is ${short(peer.ratio)} times as fast, the median of ${peer.ratios.length} steps on the same rows from ${short(Math.min(...peer.ratios))} to ${short(Math.max(...peer.ratios))}; the first loss differs by ${peer.lossDifference.toExponential(0)}`,
    ),
  ].join("\n");
}
