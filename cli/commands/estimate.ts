import { copyFile, mkdir } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { checkAdapters, withBase } from "../../activities/download/adapter-source.js";
import { checkTemplate, checkTokenizer } from "../../activities/download/check-prompt.js";
import { modelConfig } from "../../activities/download/model-config.js";
import { MODEL_COMPANIONS } from "../../activities/download/select.js";
import { planLocal, planRemote, sourceOf, type SourceName, type SourcePlan } from "../../activities/download/source-plan.js";
import { publishedBytes } from "../../activities/plan/plan-run.js";
import { preprocess } from "../../activities/preprocess/preprocess.js";
import { assumedWorkload, estimate as estimateRun, showEstimate, stepsOf, type Workload } from "../../bench/estimate.js";
import { probe, probeBytes } from "../../bench/probe.js";
import { inDirectory } from "../../bench/run.js";
import { parseRunConfig, type RunConfig } from "../../core/config/schema.js";
import { parseSource } from "../../core/config/source-ref.js";
import { UserError } from "../../core/errors.js";
import { expectedModel } from "../../core/model/lora/adapter.js";
import { lossTokens } from "../../core/rows/labels.js";
import { outputNamed } from "../../core/stages/results.js";
import { trainingNeeds } from "../../engines/onnx/needs.js";
import { artifactOf } from "../../infra/disk/files.js";
import { openTokens } from "../../infra/dataset/tokens.js";
import { availableMemory, freeDisk, sharedDirectory } from "../../infra/process/machine.js";
import { placesOf } from "../../workers/download-deps.js";
import type { Environment } from "../../workers/environment.js";
import { preprocessDeps } from "../../workers/preprocess-deps.js";
import { wholeNumber, type Command } from "../shell/command.js";
import { untilInterrupted } from "../shell/interrupt.js";
import { readConfig } from "../shell/read-config.js";
import { withS3 } from "../machine/with-s3.js";

/** `roslin estimate`: what a run will take, before it starts. */
export const estimate: Command = {
  name: "estimate",
  summary: "say what a run will take on this machine before it starts: memory, disk, steps, hours",
  usage:
    "estimate [--config FILE] [--workers N] [--json]\nno weights are downloaded; a few steps of the model's first layers are tried, which takes seconds",
  async run(args, environment) {
    const { values } = parseArgs({
      args: [...args],
      options: { config: { type: "string" }, workers: { type: "string" }, json: { type: "boolean" } },
    });
    const config = values.config === undefined ? parseRunConfig(null) : await readConfig(values.config);
    const workers = values.workers === undefined ? config.train.shards : wholeNumber("--workers", values.workers);
    if (config.train.engine !== "onnx")
      throw new UserError("a run's time and memory are estimated for the engine onnx only; roslin start notes the least that others need", {
        field: "train.engine",
        expected: "onnx",
        got: config.train.engine,
      });
    const result = await untilInterrupted((signal) => {
      const inBucket = [config.model.source, config.dataset.source].find((source) => parseSource(source).kind === "s3");
      const work = (reachable: Environment) =>
        inDirectory(undefined, (directory) => estimated(config, workers, reachable, directory, signal));
      return inBucket === undefined ? work(environment) : withS3(environment, inBucket, signal, work);
    });
    console.log(values.json === true ? JSON.stringify(result) : showEstimate(result));
    return 0;
  },
};

async function estimated(config: RunConfig, wanted: number, environment: Environment, directory: string, signal: AbortSignal) {
  const say = (line: string): void => void process.stderr.write(`estimate   ${line}\n`);
  const places = placesOf(environment);
  const look = async (name: SourceName): Promise<SourcePlan> => {
    const source = sourceOf(config, name);
    say(`looking at ${source}`);
    return (await planLocal(places, name, source)) ?? (await planRemote(places, name, source, null, signal));
  };
  const source = await withBase(places, await look("model"), null, signal, say);
  await checkTokenizer(config, source, signal);
  const { model: base, bytes } = await modelConfig(source, signal);
  await checkAdapters(config, source, signal);
  checkTemplate(config);
  const model = expectedModel(base, config.train);
  const rows = await look("dataset");
  const workload = (await ownWorkload(config, source, rows, directory, signal)) ?? assumedWorkload(config);
  const memory = availableMemory();
  const steps = stepsOf(model, config, workload, memory);
  const workers = Math.min(wanted, config.train.shards);
  const download = await missingBytes(source);
  const place = {
    workers,
    memory,
    download: download + bytes + (await missingBytes(rows)),
    published: publishedBytes(trainingNeeds(model, config.train, steps.capacity), config),
  };
  const tried = {
    model,
    train: config.train,
    workers,
    rows: steps.typical.microBatches.flatMap(({ shards }) =>
      shards.flatMap((shard) => shard.rows.map((row) => [row.inputIds.length, lossTokens(row.labels)] as const)),
    ),
    capacity: steps.capacity,
    keepActivations: steps.keepActivations,
  };
  const need = probeBytes(tried);
  const isTried = need.all < memory;
  if (isTried) say("trying a few steps of the first layers");
  const shared = sharedDirectory(need.shared, directory);
  const figures = isTried && freeDisk(shared) > need.shared ? await probe(tried, shared, environment.variables) : null;
  return estimateRun(model, config, workload, place, steps, figures);
}

async function missingBytes(plan: SourcePlan): Promise<number> {
  return plan.kind === "remote" ? await plan.remote.missing(plan.files) : 0;
}

/** The run's own rows, made into tokens as the stage makes them, where model and rows are on this machine; null: they are not. */
async function ownWorkload(
  config: RunConfig,
  model: SourcePlan,
  rows: SourcePlan,
  directory: string,
  signal: AbortSignal,
): Promise<Workload | null> {
  if (model.kind !== "directory" || rows.kind !== "file" || !model.paths.includes("config.json")) return null;
  // all that makes tokens of rows: the digest of the weights would take long
  const small = join(directory, "model");
  await mkdir(small);
  for (const name of ["config.json", ...MODEL_COMPANIONS])
    if (existsSync(join(model.directory, name))) await copyFile(join(model.directory, name), join(small, name));
  const inputs = [await artifactOf("model", small), await artifactOf("dataset", rows.path)];
  const { outputs } = await preprocess(preprocessDeps(), { config, inputs, root: directory }, { signal, progress: () => undefined });
  const { train, test } = await openTokens(fileURLToPath(outputNamed(outputs, "tokens").uri));
  let testTokens = 0;
  for (let index = 0; index < test.count; index++) testTokens += test.row(index).inputIds.length;
  return { train, testTokens, assumed: null };
}
