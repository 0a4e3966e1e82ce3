import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import { loraOf } from "../../../core/config/schema.js";
import { messageOf } from "../../../core/errors.js";
import { allParameters } from "../../../core/model/family.js";
import { ADAPTER_CONFIG } from "../../../core/model/lora/adapter-config.js";
import type { StageResult } from "../../../core/stages/results.js";
import { artifactOf, writeFileAtomic } from "../../../infra/disk/files.js";
import type { MetricsLine } from "../../../core/training/metrics-line.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { trainedModel } from "../../../infra/weights/trained-model.js";
import { Stage, type StageContext, type StageRequest } from "../../common/stage.js";
import { MODEL_COMPANIONS } from "../../download/select.js";
import { computingOf, trainDefinition } from "../definition.js";
import type { TrainDeps } from "../deps.js";
import { lineOf } from "../log/checkpoint.js";
import { committedLines, metricsRun } from "../log/committed-lines.js";
import { bringMetrics, hasMetrics, METRICS } from "../log/metrics-files.js";
import { makeLedger } from "../log/make-ledger.js";
import { differences, isProved } from "../log/ledger-words.js";
import { computedSteps } from "../log/past.js";
import { readSteps } from "../log/steps-file.js";
import { trainingPlace } from "../log/training-place.js";
import { WHEREABOUTS } from "../log/whereabouts.js";
import { finishAdapter, planAdapterFile } from "./adapter-result.js";
import { clearAttempts } from "./leftovers.js";
import { figures } from "./figures.js";
import { ModelWriter } from "./model-writer.js";
import { MAX_FILE_BYTES, planWeights } from "../../../core/format/weight-files.js";

/** From the last checkpoint to a model directory, or an adapter's, the digest of the whole state, and the run's figures. */

const GENERATION = "generation_config.json";

/**
 * Makes the stage's outputs from the last checkpoint, which holds every step; null when that is no longer whole: begin
 * again. Weights of more than `maxFileBytes` are written as several files.
 */
export async function finishTraining(
  deps: TrainDeps,
  request: StageRequest,
  context: StageContext,
  maxFileBytes: number = MAX_FILE_BYTES,
): Promise<StageResult<"train"> | null> {
  const stage = new Stage(trainDefinition, request);
  const result = (await stage.finished()) ?? (await finish(deps, request, stage, context, maxFileBytes));
  if (result !== null) clearAttempts(deps, stage.directory, Infinity);
  return result;
}

/** An attempt that was killed at this may have left anything in the model's directory. */
async function finish(
  deps: TrainDeps,
  request: StageRequest,
  stage: Stage<"train">,
  { signal, progress }: StageContext,
  maxFileBytes: number,
): Promise<StageResult<"train"> | null> {
  const { directory } = stage;
  const say = (note: string, lasting?: true): void =>
    progress({ stage: "train", done: 0, total: 0, unit: "steps", note, ...(lasting && { lasting }) });
  const place = trainingPlace(deps, directory, request.config.train, { signal, onNote: say });
  const log = await place.log();
  const good = await place.lastGood(log, signal, say);
  if (good?.entry.reason !== "finish") return null;
  const base = new ModelFiles(stage.path("model"));
  // config and tokenizer are read from its directory; of the weights only their dtype counts
  base.close();
  const target = join(directory, "model");
  const { train } = request.config;
  const model = trainedModel(base, train);
  const lora = loraOf(train);
  const dtype = lora === null ? base.dtype : "F32";
  const plan = lora === null ? planWeights(allParameters(model.parameters), dtype, maxFileBytes) : planAdapterFile(model);
  const turn = (): Promise<void> => breathe(undefined, { signal });
  const stateDigest = await new ModelWriter({ directory, target, plan, dtype, say, turn }).write(good.entry);
  if (lora !== null) await finishAdapter(base, model, target, lora.dropout);
  const written = [...plan.files, ...(plan.index === null ? [] : [plan.index])].map(({ name }) => name);
  const weights = lora === null ? written : [...written, ADAPTER_CONFIG];
  // what a worker wrote that was taken for dead
  await place.prune(log, request.config.train.keepCheckpoints, Infinity);
  const companions = await writeCompanions(base, target);
  for (const name of await readdir(target)) if (!weights.includes(name) && !companions.includes(name)) await rm(join(target, name));
  await rm(join(directory, WHEREABOUTS), { recursive: true, force: true, maxRetries: 3 });
  const outputs = [await artifactOf("tuned", target, signal)];
  await place.bringSteps();
  const attempts = await readSteps(directory);
  const lines = committedLines(metricsRun(train, stage.path("tokens"), good.entry.step), log, good.commit, attempts);
  await completeMetrics(directory, lines, (note) => say(note, true));
  const ledger = makeLedger(log, good.commit, attempts);
  if (!isProved(ledger.proof)) say(differences(ledger.proof), true);
  const computed = computedSteps(lineOf(log, good.commit), computingOf(stage.parts));
  const metrics = { ...figures(log, good, ledger), ...(computed.length > 1 && { computed }) };
  return stage.finish({ outputs, metrics, stateDigest });
}

/** Both files of metrics are copies: a full disk must not fail a training that has ended well. */
async function completeMetrics(directory: string, lines: readonly MetricsLine[], say: (note: string) => void): Promise<void> {
  try {
    if (!(await hasMetrics(directory, lines))) await bringMetrics(directory, lines);
  } catch (error) {
    say(`${METRICS} and TensorBoard's file lack steps: ${messageOf(error)}. The model and its figures are whole`);
  }
}

/** What else transformers wants to find: the config, the generation config, the tokenizer's files where there are any. Resolves to their names. */
async function writeCompanions(base: ModelFiles, target: string): Promise<string[]> {
  const present = await readdir(base.directory);
  const copied = MODEL_COMPANIONS.filter((name) => present.includes(name));
  for (const name of copied) await writeFileAtomic(join(target, name), await readFile(join(base.directory, name)));
  await writeFileAtomic(join(target, "config.json"), `${JSON.stringify({ ...base.model.configJson, use_cache: true }, null, 2)}\n`);
  if (!present.includes(GENERATION)) {
    const { configJson, shape } = base.model;
    // as config.json has it: a number, a list or null
    const { eos_token_id = shape.eosTokenIds[0] } = configJson;
    const generation = { bos_token_id: shape.bosTokenId, eos_token_id, use_cache: true };
    await writeFileAtomic(join(target, GENERATION), `${JSON.stringify(generation, null, 2)}\n`);
  }
  return [...copied, "config.json", GENERATION];
}
