import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { preprocess } from "../activities/preprocess/preprocess.js";
import { loraOf, parseRunConfig, type RunConfig } from "../core/config/schema.js";
import { parameterCount, countOf, trainedParameters } from "../core/model/family.js";
import { UserError } from "../core/errors.js";
import { outputNamed, type Artifact } from "../core/stages/results.js";
import type { TokenRow } from "../core/rows/token-rows.js";
import { planStep } from "../core/training/step-plan.js";
import { bytes as readable } from "../core/units.js";
import type { StepRecord } from "../engines/engine.js";
import { artifactOf } from "../infra/disk/files.js";
import { openTokens } from "../infra/dataset/tokens.js";
import { ModelFiles } from "../infra/weights/model-files.js";
import { trainedModel } from "../infra/weights/trained-model.js";
import { preprocessDeps } from "../workers/preprocess-deps.js";
import { fileURLToPath } from "node:url";
import { median, percent, short } from "./figures.js";
import { children, peakHeld, type HeldMemory } from "./memory.js";
import { ADAPTER_PEERS, comparePeer, Peer, type PeerFigures, type PeerName, type PeerStep } from "./pytorch.js";
import { runTraining } from "./run.js";
import { sharesOf, type TrainFigures } from "./train.js";

/** How fast adapters of a real model are trained, beside PEFT on the same rows. */

/** What is trained, and how often. */
export interface LoraBench {
  /** a model directory */
  readonly model: string;
  /** an Alpaca-format file */
  readonly dataset: string;
  /** tokens of a row at the most, and rows of one shard in one step */
  readonly length: number;
  readonly rows: number;
  readonly rank: number;
  readonly workers: number;
  readonly rounds: number;
  /** steps in each round; the first is not counted */
  readonly steps: number;
  /** an interpreter with PEFT; null: only this engine is measured */
  readonly python: string | null;
}

/** Peaks of what processes held together, bytes. */
type Held = HeldMemory & { readonly all: number };

/** What came out. */
export interface LoraFigures {
  readonly parameters: number;
  readonly trained: number;
  readonly workers: number;
  readonly tokensPerSecond: number;
  readonly lossTokensPerSecond: number;
  /** seconds of each counted step */
  readonly seconds: readonly number[];
  readonly shares: TrainFigures["shares"];
  readonly memory: Held;
  readonly peers: readonly (PeerFigures & { readonly held: Held })[];
}

/** Milliseconds between looks at the processes. Each look costs time, and time is being measured. */
const LOOK_MS = 500;

/** Trains in rounds; after each, each peer trains a step on the rows of the round's last step. Throws UserError. */
export async function benchLora(options: LoraBench, root: string, signal: AbortSignal, say: (line: string) => void): Promise<LoraFigures> {
  const { steps, rounds, workers, python } = options;
  if (steps < 2)
    throw new UserError("a round's first step is not counted, so a round needs another", {
      field: "--steps",
      expected: "2 or more",
      got: steps,
    });
  const directory = resolve(options.model);
  const files = new ModelFiles(directory);
  files.close();
  const model = trainedModel(files, settingsOf(options, 0).train);
  say("making tokens");
  const inputs = await makeTokens(options, directory, root, signal);
  const { train: split } = await openTokens(fileURLToPath(outputNamed(inputs, "tokens").uri));
  const records: StepRecord[] = [];
  const ours: StepRecord[] = [];
  const held: Held[] = [];
  const peers: Peer[] = [];
  const theirs = new Map<PeerName, (PeerStep & { readonly held: Held })[]>(ADAPTER_PEERS.map((name) => [name, []]));
  const peerSteps = async (round: number, step: number): Promise<void> => {
    const rows = planStep(split, settingsOf(options, round).train, step).microBatches.flatMap(({ shards }) =>
      shards.flatMap((shard) => shard.rows),
    );
    for (const peer of peers) {
      const stepping = peer.step(byLength(rows, options.rows));
      const [told, memory] = await Promise.all([stepping, peakHeld(() => [peer.pid], stepping, LOOK_MS)]);
      theirs.get(peer.name)!.push({ ...told, memory: memory.all, held: memory });
      say(`${peer.name}: ${short(told.seconds)} s, ${readable(memory.all)}`);
    }
  };
  try {
    if (python !== null)
      for (const name of ADAPTER_PEERS) peers.push(await Peer.start(python, name, directory, signal, [peftConfig(options)]));
    const others = new Set(peers.map(({ pid }) => pid));
    await peerSteps(0, 0);
    for (let round = 0; round < rounds; round++) {
      signal.throwIfAborted();
      const training = runTraining(inputs, settingsOf(options, round), workers, root, signal, (line) =>
        say(`round ${round + 1} of ${rounds}: ${line}`),
      );
      const [run, memory] = await Promise.all([
        training,
        peakHeld(() => children().filter((process) => !others.has(process)), training, LOOK_MS),
      ]);
      held.push(memory);
      ours.push(...(round === 0 ? [run.steps[0]!] : []), run.steps.at(-1)!);
      records.push(...run.steps.slice(1));
      await peerSteps(round, steps - 1);
    }
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()));
  }
  const rate = (amount: (record: StepRecord) => number): number => median(records.map((record) => amount(record) / record.seconds));
  return {
    parameters: parameterCount(model),
    trained: countOf(trainedParameters(model.parameters)),
    workers,
    tokensPerSecond: rate(({ tokens }) => tokens),
    lossTokensPerSecond: rate(({ labels }) => labels),
    seconds: records.map(({ seconds }) => seconds),
    shares: sharesOf(records),
    memory: largest(held),
    peers: peers.map((peer) => ({
      ...comparePeer(peer, ours, theirs.get(peer.name)!),
      held: largest(theirs.get(peer.name)!.map((step) => step.held)),
    })),
  };
}

function settingsOf({ length, rows, rank, steps }: LoraBench, round: number): RunConfig {
  return parseRunConfig({
    preprocess: { prompt: "alpaca", maxLength: length, testRows: 0 },
    train: {
      method: "lora",
      lora: { rank, alpha: 2 * rank },
      microBatch: rows,
      epochs: steps,
      maxSteps: steps,
      checkpointEverySteps: steps,
      checkpointEveryMinutes: 1e6,
      seed: round,
    },
  });
}

/** The same adapters in PEFT's words. */
function peftConfig(options: LoraBench): string {
  const { rank, alpha, dropout, targets } = loraOf(settingsOf(options, 0).train)!;
  return JSON.stringify({ r: rank, lora_alpha: alpha, lora_dropout: dropout, target_modules: targets });
}

async function makeTokens(options: LoraBench, directory: string, root: string, signal: AbortSignal): Promise<Artifact[]> {
  const model = await artifactOf("model", directory);
  const work = join(root, "rows");
  await mkdir(work, { recursive: true });
  const inputs = [model, await artifactOf("dataset", resolve(options.dataset))];
  const request = { config: settingsOf(options, 0), inputs, root: work };
  const { outputs } = await preprocess(preprocessDeps(), request, { signal, progress: () => undefined });
  return [model, outputNamed(outputs, "tokens")];
}

/** Batches of rows of like length, which are padded least. */
function byLength(rows: readonly TokenRow[], batch: number): TokenRow[][] {
  const sorted = rows.toSorted((a, b) => b.inputIds.length - a.inputIds.length);
  return Array.from({ length: Math.ceil(sorted.length / batch) }, (_, index) => sorted.slice(index * batch, (index + 1) * batch));
}

function largest(held: readonly Held[]): Held {
  const most = (kind: keyof Held): number => Math.max(...held.map((each) => each[kind]));
  return { anonymous: most("anonymous"), shared: most("shared"), mapped: most("mapped"), all: most("all") };
}

/** The figures as a few lines. */
export function showLora({ model, rank, rows }: LoraBench, figures: LoraFigures): string {
  const { seconds, shares, memory, workers } = figures;
  const parts = Object.entries(shares).map(([name, share]) => `${name} ${percent(share)}`);
  const words = ({ all, anonymous, shared, mapped }: Held): string =>
    `${readable(all)}: ${readable(anonymous)} anonymous, ${readable(shared)} shared, ${readable(mapped)} of mapped files`;
  return [
    `model      ${model}: ${short(figures.parameters / 1e6)} M parameters, of which ${short(figures.trained / 1e6)} M are trained, rank ${rank}`,
    `workers    ${workers}, one thread each; a step is 8 shards x ${rows} rows`,
    `tokens/s   ${short(figures.tokensPerSecond)}, with loss ${short(figures.lossTokensPerSecond)}`,
    `step       ${short(median(seconds))} s, the median of ${seconds.length} from ${short(Math.min(...seconds))} to ${short(Math.max(...seconds))}`,
    `time       ${parts.join(", ")} (of worker 0)`,
    `memory     ${words(memory)}`,
    ...figures.peers.flatMap((peer) => [
      `${peer.name} ${short(peer.tokensPerSecond)} tokens/s (${peer.versions}): Roslin is ${short(peer.ratio)} times as fast, the median of ${peer.ratios.length} steps on the same rows from ${short(Math.min(...peer.ratios))} to ${short(Math.max(...peer.ratios))}; the first loss differs by ${peer.lossDifference.toExponential(0)}`,
      `           ${words(peer.held)}; Roslin takes ${percent(memory.all / peer.held.all)}`,
    ]),
  ].join("\n");
}
