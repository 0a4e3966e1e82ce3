import { fileURLToPath } from "node:url";
import type { StepRecord } from "../engines/engine.js";
import { sharedBytes } from "../engines/onnx/needs.js";
import type { TimeSpent } from "../engines/onnx/times.js";
import { UserError } from "../core/errors.js";
import { elements } from "../core/graph/tensor.js";
import { parameterCount } from "../core/model/family.js";
import { capacityOf, planStep, type StepPlan } from "../core/training/step-plan.js";
import { outputNamed } from "../core/stages/results.js";
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

/** How fast a job trains, compared with matrix products on the same machine at the same time. */
export interface TrainFigures {
  readonly parameters: number;
  readonly workers: number;
  readonly tokensPerSecond: number;
  readonly lossTokensPerSecond: number;
  readonly rowsPerSecond: number;
  /** seconds of each step, without the first step of each round */
  readonly seconds: readonly number[];
  /** parts of the time of worker 0's compute thread */
  readonly shares: Readonly<Record<keyof TimeSpent | "other", number>>;
  /** operations per second in the steps' matrix products, all workers together */
  readonly reached: number;
  /** operations per second in the faster of two products: a square one, and the blocks' largest */
  readonly best: number;
  /** peak of all workers' own memory together, plus the shared memory once; bytes */
  readonly memory: number;
  readonly peers: readonly PeerFigures[];
}

/** What is measured, and how often. */
export interface TrainBench {
  readonly workers: number;
  readonly rounds: number;
  /** steps in each round; the first is not counted */
  readonly steps: number;
  /** an interpreter with torch; null: only this engine is measured */
  readonly python: string | null;
  /** the ways in which PyTorch trains */
  readonly peers: readonly PeerName[];
}

/**
 * Trains in rounds. Matrix products are measured before each round and at the end; after each round, each peer trains a step on
 * the rows of the round's last step. Throws UserError if `steps` is below 2.
 */
export async function benchTrain(
  job: Job,
  { workers, rounds, steps, python, peers: names }: TrainBench,
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<TrainFigures> {
  if (steps < 2)
    throw new UserError("a round's first step is not counted, so a round needs another", {
      field: "--steps",
      expected: "2 or more",
      got: steps,
    });
  const model = modelOf(job);
  const { shards } = settings(job, steps, steps, 0).train;
  say("making a model and rows");
  const inputs = await makeInputs(job, shards * job.rows * steps, root, signal);
  const [directory, tokens] = ["model", "tokens"].map((name) => fileURLToPath(outputNamed(inputs, name).uri)) as [string, string];
  const { train: split } = await openTokens(tokens);
  const planOf = (round: number, step: number): StepPlan => planStep(split, settings(job, steps, steps, round).train, step);
  const matrices = model.parameters.blocks[0]!.filter(({ shape }) => shape.length === 2).map(({ shape }) => shape);
  const [n, k] = matrices.reduce((largest, shape) => (elements(shape) > elements(largest) ? shape : largest)) as [number, number];
  const products: readonly Product[] = [
    { m: 1024, k: 1024, n: 1024 },
    { m: job.rows * job.length, k, n },
  ];
  const speeds: number[][] = products.map(() => []);
  const multiply = async (): Promise<void> => {
    for (const [index, product] of products.entries()) speeds[index]!.push(await productSpeed(product, workers));
  };
  const shared = sharedBytes(model, shards, capacityOf(split, settings(job, steps, steps, 0).train));
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
    for (const name of names) peers.push(await Peer.start(python!, name, directory, signal));
    const others = new Set(peers.map(({ pid }) => pid));
    // a peer's first step warms it up, and its loss is compared with ours
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
      reached.push(...run.steps.slice(1).map(({ seconds }, index) => stepFlops(model, planOf(round, index + 1)) / seconds));
      await peerSteps(round, steps - 1);
    }
    await multiply();
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()));
  }
  const rate = (amount: (record: StepRecord) => number): number => median(records.map((record) => amount(record) / record.seconds));
  return {
    parameters: parameterCount(model),
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

/** Milliseconds between looks at the processes. Each look costs time, and time is being measured. */
const WATCH_MS = 250;

/** Parts of the steps' time by what it was spent on; they sum to 1. */
export function sharesOf(records: readonly StepRecord[]): TrainFigures["shares"] {
  const total = records.reduce((sum, { seconds }) => sum + seconds, 0);
  const share = (part: keyof TimeSpent): number => records.reduce((sum, { spent }) => sum + (spent[part] ?? 0), 0) / total;
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
