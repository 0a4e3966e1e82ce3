import { createHash } from "node:crypto";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { floatToBfloat, floatToHalf } from "../../../core/format/floats.js";
import type { DType } from "../../../core/format/safetensors.js";
import { elements } from "../../../core/graph/tensor.js";
import { allParameters } from "../../../core/model/family.js";
import { sliceOf } from "../../../core/training/slices.js";
import { outputNamed, type StageResult } from "../../../core/stages/stage.js";
import type { ModelFiles, SafetensorsFile } from "../../../infra/weights/model-files.js";
import { MODEL_COMPANIONS } from "../../download/select.js";
import { artifactOf, writeFileAtomic } from "../../../infra/disk/files.js";
import type { Stage, StageContext, StageRequest } from "../../common/stage.js";
import { checkpoints, history, lastGood, MOMENTS, pruneShards } from "../log/checkpoint.js";
import { makeLedger } from "../log/ledger.js";
import type { Ledger } from "../../../core/stages/ledger.js";
import type { TrainMetrics } from "../../../core/stages/metrics.js";
import { differences, goodput, isProved, proofLine } from "../log/ledger-words.js";
import { openLog, type CommitLog } from "../log/commit-log.js";
import { readSteps } from "../log/steps-file.js";
import type { CheckpointEntry, StepRecord, TimeSpent } from "../log/entries.js";
import { planWeights, type WeightPlan } from "./weight-files.js";
import { WHEREABOUTS } from "../log/whereabouts.js";
import type { TrainDeps } from "../deps.js";

/** From the last checkpoint to a model directory, the digest of the whole state, and the run's figures. */

const GENERATION = "generation_config.json";
/** Elements read and converted at a time. */
const CHUNK = 1 << 20;

/**
 * Makes the stage's outputs; null when the checkpoint of the last step is no longer whole, and steps have to be repeated.
 * An attempt that was killed at it may have left anything in the model's directory.
 */
export async function finish(
  deps: TrainDeps,
  request: StageRequest,
  stage: Stage<"train">,
  context: StageContext,
  maxFileBytes: number,
): Promise<StageResult<"train"> | null> {
  const { directory } = stage;
  const say = (note: string, lasting?: true): void =>
    context.progress({ stage: "train", done: 0, total: 0, unit: "steps", note, ...(lasting && { lasting }) });
  const log = await openLog(deps.openStore(directory));
  const good = await lastGood(log, directory, (path) => deps.sha256File(path, context.signal), say);
  if (good?.entry.reason !== "finish") return null;
  const base = deps.openModel(fileURLToPath(outputNamed(request.inputs, "model").uri));
  // config and tokenizer are read from its directory; of the weights only their dtype counts
  base.close();
  const target = join(directory, "model");
  const turn = async (): Promise<void> => breathe(undefined, { signal: context.signal });
  const plan = planWeights(allParameters(base.model.parameters), base.dtype, maxFileBytes);
  const stateDigest = await writeModel(deps, base, target, plan, directory, good.entry, say, turn);
  const weights = [...plan.files, ...(plan.index === null ? [] : [plan.index])].map(({ name }) => name);
  // what a worker wrote that was taken for dead
  await pruneShards(log, directory, request.config.train.keepCheckpoints, Infinity);
  const companions = await writeCompanions(base, target);
  for (const name of await readdir(target)) if (!weights.includes(name) && !companions.includes(name)) await rm(join(target, name));
  await rm(join(directory, WHEREABOUTS), { recursive: true, force: true, maxRetries: 3 });
  const outputs = [await artifactOf("tuned", target, context.signal)];
  const ledger = makeLedger(log, good.commit, await readSteps(directory));
  if (!isProved(ledger.proof)) say(differences(ledger.proof), true);
  const metrics = figures(log, good.commit, good.entry, ledger);
  return stage.finish({ outputs, metrics, stateDigest });
}

/** Writes the weights in the source's dtype; returns the digest of weights, moments and step. `turn` gives the event loop its own. */
async function writeModel(
  deps: TrainDeps,
  base: ModelFiles,
  target: string,
  plan: WeightPlan,
  directory: string,
  entry: CheckpointEntry,
  say: (note: string) => void,
  turn: () => Promise<void>,
): Promise<string> {
  const shards = entry.shards.map(({ file }) => deps.openSafetensors(join(directory, file)));
  const shapes = new Map(plan.files.flatMap(({ weights }) => weights.map((spec) => [spec.name, spec.shape])));
  const digest = createHash("sha256");
  const bytesOf = async function* (name: string): AsyncIterable<Uint8Array> {
    say(`writing ${name}`);
    const shape = shapes.get(name)!;
    for (const suffix of MOMENTS)
      for (const part of slices(shards, name + suffix, shape)) {
        digest.update(bytes(part));
        if (suffix === "") yield convert(part, base.dtype);
        // nothing waits for moments, which are only read: gigabytes of them would cost a heartbeat
        await turn();
      }
  };
  try {
    // one dtype, so tensors are asked for in the order of their names: that of the digest
    for (const { name: file, weights } of plan.files) {
      const tensors = weights.map(({ name, shape }) => ({ name, dtype: base.dtype, shape }));
      await deps.writeSafetensors(join(target, file), tensors, bytesOf);
    }
    if (plan.index !== null) await writeFileAtomic(join(target, plan.index.name), plan.index.text);
  } finally {
    for (const shard of shards) shard.close();
  }
  const step = Buffer.alloc(8);
  step.writeBigUInt64LE(BigInt(entry.step));
  return digest.update(step).digest("hex");
}

/** A tensor's elements in order, from the shards that own its slices. */
function* slices(shards: readonly SafetensorsFile[], name: string, shape: readonly number[]): Iterable<Float32Array> {
  const rowSize = elements(shape.slice(1));
  for (const [shard, file] of shards.entries()) {
    const { start, end } = sliceOf(shape[0]!, shards.length, shard);
    const count = (end - start) * rowSize;
    for (let first = 0; first < count; first += CHUNK) {
      const part = new Float32Array(Math.min(CHUNK, count - first));
      file.readFloats(name, first, part);
      yield part;
    }
  }
}

function bytes(values: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function convert(values: Float32Array, dtype: DType): Uint8Array {
  if (dtype === "F32") return bytes(values);
  const narrow = new Uint16Array(values.length);
  (dtype === "F16" ? floatToHalf : floatToBfloat)(values, narrow);
  return bytes(narrow);
}

/** What else transformers wants to find: the config, the generation config, the tokenizer's files where there are any. Resolves to their names. */
async function writeCompanions(base: ModelFiles, target: string): Promise<string[]> {
  const there = await readdir(base.directory);
  const copied = MODEL_COMPANIONS.filter((name) => there.includes(name));
  for (const name of copied) await writeFileAtomic(join(target, name), await readFile(join(base.directory, name)));
  await writeFileAtomic(join(target, "config.json"), `${JSON.stringify({ ...base.model.configJson, use_cache: true }, null, 2)}\n`);
  if (!there.includes(GENERATION)) {
    const generation = { bos_token_id: base.model.shape.bosTokenId, eos_token_id: base.model.shape.eosTokenId, use_cache: true };
    await writeFileAtomic(join(target, GENERATION), `${JSON.stringify(generation, null, 2)}\n`);
  }
  return [...copied, "config.json", GENERATION];
}

/** Figures of the whole run, the steps before a resume too; rates are medians over the steps but the first. */
function figures(log: CommitLog, commit: number, entry: CheckpointEntry, ledger: Ledger): TrainMetrics {
  const steps = history(log, commit);
  const rate = (of: (step: StepRecord) => number): number =>
    median((steps.length > 1 ? steps.slice(1) : steps).map((step) => of(step) / step.seconds));
  const attempts = log.entries.flatMap((each) => (each.kind === "attempt" ? [each] : []));
  const line = checkpoints(log).filter((each) => each.entry.step <= entry.step);
  return {
    seconds: steps.reduce((sum, step) => sum + step.seconds, 0),
    // first, for the UI shows as much of them as fits
    goodput: goodput(ledger),
    proof: proofLine(ledger),
    steps: entry.step,
    losses: steps.map((step) => step.loss),
    gradientNorms: steps.map((step) => step.norm),
    tokensPerSecond: rate((step) => step.tokens),
    rowsPerSecond: rate((step) => step.rows),
    lossTokensPerSecond: rate((step) => step.labels),
    timeShares: timeShares(steps),
    tokens: steps.reduce((sum, step) => sum + step.tokens, 0),
    resumedAtStep: attempts.at(-1)?.resumeStep ?? 0,
    attempts: attempts.length,
    fingerprint: { ...entry.fingerprint },
    /** false: parts of the run ran on different kinds of machine, so equal bytes are not promised */
    oneKindOfMachine: new Set(line.map((each) => JSON.stringify(each.entry.fingerprint))).size === 1,
    ledger,
  };
}

/** What part of the first worker's time went where, over all steps. */
function timeShares(steps: readonly StepRecord[]): Record<keyof TimeSpent, number> {
  const total = steps.reduce((sum, step) => sum + step.seconds, 0);
  const share = (on: keyof TimeSpent): number => steps.reduce((sum, step) => sum + step.spent[on], 0) / total;
  return { graphs: share("graphs"), waiting: share("waiting"), reduction: share("reduction"), optimizer: share("optimizer") };
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
