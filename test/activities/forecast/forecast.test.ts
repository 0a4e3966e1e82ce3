import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { DEFINITIONS } from "../../../activities/forecast/definitions.js";
import { forecast, type Forecast } from "../../../activities/forecast/forecast.js";
import { finishedStage, Stage } from "../../../activities/common/stage.js";
import { parseRunConfig, type RunConfig } from "../../../core/config/schema.js";
import { inputsFrom, STAGES, type StageName, type StageResult } from "../../../core/stages/results.js";
import { finish } from "../common/made-stages.js";

const root = mkdtempSync(join(tmpdir(), "roslin-forecast-"));
after(() => rmSync(root, { recursive: true }));
/** Stages by what becomes of them: "download preprocess | train evaluate publish". */
const split = (forecasts: readonly Forecast[]): string => {
  const names = (reused: boolean): string =>
    forecasts
      .filter((each) => each.reused === reused)
      .map(({ stage }) => stage)
      .join(" ");
  return `${names(true)} | ${names(false)}`;
};

/** Another value than the default for every field of the settings, and the first stage that it concerns; null: none. */
const FIELDS: Readonly<Record<string, readonly [value: unknown, first: StageName | null]>> = {
  "model.source": ["hf://another/model", "download"],
  "dataset.source": ["hf://another/data", "download"],
  "dataset.config": ["en", "download"],
  "dataset.split": ["validation", "download"],
  "preprocess.maxLength": [512, "preprocess"],
  "dataset.format": ["messages", "preprocess"],
  "dataset.columns.instruction": ["question", "preprocess"],
  "dataset.columns.input": ["about", "preprocess"],
  "dataset.columns.output": ["answer", "preprocess"],
  "dataset.columns.system": ["role", "preprocess"],
  "dataset.columns.history": ["before", "preprocess"],
  "dataset.columns.messages": ["talk", "preprocess"],
  "preprocess.prompt": ["alpaca", "preprocess"],
  "preprocess.testRows": [10, "preprocess"],
  "preprocess.maxRejectShare": [0.5, "preprocess"],
  "preprocess.seed": [1, "preprocess"],
  "train.shards": [4, "train"],
  "train.epochs": [2, "train"],
  "train.maxSteps": [5, "train"],
  "train.microBatch": [2, "train"],
  "train.accumulation": [2, "train"],
  "train.learningRate": [2e-5, "train"],
  "train.schedule": ["cosine", "train"],
  "train.warmupSteps": [3, "train"],
  "train.betas": [[0.8, 0.999], "train"],
  "train.epsilon": [1e-7, "train"],
  "train.weightDecay": [0.1, "train"],
  "train.maxGradNorm": [2, "train"],
  "train.seed": [1, "train"],
  "train.engine": ["deepspeed", "train"],
  "train.precision": ["bf16", "train"],
  "train.method": ["lora", "train"],
  "train.lora": [{ rank: 4 }, "train"],
  "train.checkpointEverySteps": [7, null],
  "train.checkpointEveryMinutes": [7, null],
  "train.keepCheckpoints": [7, null],
  "train.evalEverySteps": [7, null],
  "train.workers.min": [2, null],
  "train.workers.waitSeconds": [7, null],
  "train.workers.store": ["s3://bucket/training", null],
  "evaluate.generateSamples": [1, "evaluate"],
  "evaluate.prompts": [[{ instruction: "Say hello." }], "evaluate"],
  "evaluate.references": [3, "evaluate"],
  "evaluate.generation.maxNewTokens": [7, "evaluate"],
  "evaluate.generation.temperature": [1, "evaluate"],
  "evaluate.generation.topP": [0.5, "evaluate"],
  "evaluate.generation.topK": [7, "evaluate"],
  "evaluate.generation.repetitionPenalty": [1.1, "evaluate"],
  "evaluate.generation.seed": [7, "evaluate"],
  "evaluate.generation.tooLong": ["cut", "evaluate"],
  "evaluate.tasks": [{ names: ["piqa"] }, "evaluate"],
  "evaluate.gate.maxPerplexityRatio": [2, "evaluate"],
  "evaluate.gate.rules": [[{ metric: "loss", against: "base", atMost: 1 }], "evaluate"],
  "evaluate.gate.overrideWithinHours": [1, null],
  // no rule compares with it
  "evaluate.live": [{ uri: "s3://bucket/models/m", manifest: "0".repeat(64) }, null],
  "publish.target": ["s3://another/place", "publish"],
  "publish.encryption": ["AES256", "publish"],
  "publish.kmsKeyId": ["key", "publish"],
  "publish.storageClass": ["STANDARD_IA", "publish"],
  "publish.tags": [{ a: "b" }, "publish"],
  "publish.merge": [true, "publish"],
  "publish.sign": [{ key: "env:KEY" }, "publish"],
  "publish.lifecycle.abortUploadsAfterDays": [7, "publish"],
  "publish.lifecycle.expireAfterDays": [7, "publish"],
};
/** Fields that have one value with the engine of `base`. */
const SINGLE = ["train.workers.hosts"];
/** Fields of the engine deepspeed alone: where state is kept changes no bit. */
const OFFLOAD = ["train.offload.optimizer", "train.offload.parameters", "train.offload.directory"];

const base = parseRunConfig({ publish: { target: "s3://bucket/models" } });

/** The paths of all fields of the settings. */
function fieldsOf(value: unknown, path = ""): string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value) || path === "publish.tags") return [path];
  return Object.entries(value).flatMap(([name, each]) => fieldsOf(each, path === "" ? name : `${path}.${name}`));
}

function withField(path: string, value: unknown): RunConfig {
  const copy = structuredClone(base) as unknown as Record<string, unknown>;
  const names = path.split(".");
  const last = names.pop()!;
  const section = names.reduce((at, name) => at[name] as Record<string, unknown>, copy);
  section[last] = value;
  if (path === "publish.kmsKeyId") section["encryption"] = "aws:kms";
  if (path === "train.precision") section["engine"] = "deepspeed";
  if (path === "train.lora") section["method"] = "lora";
  return parseRunConfig(copy);
}

test("every setting runs again the stages from the one that it concerns, those before are reused", async () => {
  assert.deepEqual(
    [...Object.keys(FIELDS), ...SINGLE, ...OFFLOAD].sort(),
    fieldsOf(base).sort(),
    "a new setting? say here which stage it concerns",
  );
  await finish(base, root);
  for (const [path, [value, first]] of Object.entries(FIELDS)) {
    const from = first === null ? STAGES.length : STAGES.indexOf(first);
    const expected = `${STAGES.slice(0, from).join(" ")} | ${STAGES.slice(from).join(" ")}`;
    const forecasts = await forecast(withField(path, value), root);
    assert.equal(split(forecasts), expected, path);
    if (first === null || first === "download") continue;
    const field =
      path.startsWith("train.") || path.startsWith("evaluate.") || path.startsWith("publish.") ? path.slice(path.indexOf(".") + 1) : path;
    const { why } = forecasts.find(({ stage }) => stage === first)!;
    assert.ok(why.includes(field.split(".").at(-1)!), `${path}: ${why}`);
  }
});

test("on how many machines a run trains is no part of its key", () => {
  const keyOf = (hosts: number): unknown =>
    DEFINITIONS.train.settings(parseRunConfig({ train: { engine: "deepspeed", workers: { hosts, store: "s3://bucket/training" } } }));
  assert.deepEqual(keyOf(2), keyOf(1));
});

test("a run that offloads its state is the same run", async () => {
  const place = join(root, "offload");
  const withOffload = (offload: object): RunConfig => parseRunConfig({ ...base, train: { ...base.train, engine: "deepspeed", offload } });
  await finish(withOffload({}), place);
  const offload = { optimizer: "nvme", parameters: "cpu", directory: "/fast" };
  assert.equal(split(await forecast(withOffload(offload), place)), `${STAGES.join(" ")} | `);
});

test("it says why: what changed, what was begun, what waits for what", async () => {
  const place = join(root, "why");
  assert.deepEqual((await forecast(base, place)).map(({ why }) => why).slice(0, 2), [
    "it has not run here yet",
    "after download, unless that leaves what it left before",
  ]);
  await finish(base, place, "train");
  const begun = await forecast(base, place);
  assert.equal(
    begun[0]!.why,
    "the same settings, inputs and code as before, when it took 1 min 15 s; what the sources hold is looked at again",
  );
  assert.equal(begun[3]!.why, "it has not run here yet");
  await finish(base, join(root, "all"));
  assert.match((await forecast(base, join(root, "all")))[4]!.why, /the same settings.*; what lies at the target is looked at again$/);
  const faster = await forecast(withField("train.learningRate", 2e-5), place);
  assert.equal(faster[2]!.why, "learningRate is 0.00002, was 0.00001");
  assert.equal(faster[3]!.why, "after train, unless that leaves what it left before");
  const results: StageResult[] = [];
  await new Stage(DEFINITIONS.download, {
    config: withField("model.source", "hf://another/model"),
    inputs: inputsFrom(results),
    root: place,
  }).begin();
  assert.equal(
    (await forecast(withField("model.source", "hf://another/model"), place))[0]!.why,
    "it was begun, and goes on where it stopped",
  );
});

test("it says what an unfinished training of the same job has saved, and by what that was computed", async () => {
  const place = join(root, "taken");
  const directories = await finish(base, place, "preprocess");
  const results = await Promise.all(directories.map(async (directory) => (await finishedStage(directory))!));
  const onnx = new Stage(DEFINITIONS.train, { config: base, inputs: inputsFrom(results), root: place });
  await onnx.begin();
  const train = async (config: RunConfig): Promise<Forecast> => (await forecast(config, place))[2]!;
  const deepspeed = withField("train.engine", "deepspeed");
  assert.deepEqual((await train(deepspeed)).from, [onnx.directory]);
  assert.match((await train(deepspeed)).why, /^engine is "deepspeed", was "onnx"; /, "nothing is saved yet");
  mkdirSync(join(onnx.directory, "shards"));
  writeFileSync(join(onnx.directory, "shards", "g000001-s0000003-shard00.safetensors"), "");
  assert.match(
    (await train(deepspeed)).why,
    new RegExp(`^it goes on from what train/${basename(onnx.directory)} has saved: engine is "deepspeed", was "onnx"; engineVersion is `),
  );
  assert.deepEqual((await train(withField("train.seed", 1))).from, []);
});

test("after an upgrade it names the version, and no setting that the earlier one did not have", async () => {
  const place = join(root, "upgrade");
  const [download, preprocess] = await finish(base, place, "preprocess");
  const results = await Promise.all([download!, preprocess!].map(async (directory) => (await finishedStage(directory))!));
  const { train } = DEFINITIONS;
  const settings = (config: RunConfig): unknown => {
    const { engineVersion: _, ...earlier } = train.settings(config) as Record<string, unknown>;
    return earlier;
  };
  await new Stage({ ...train, version: train.version - 1, settings }, { config: base, inputs: inputsFrom(results), root: place }).begin();
  const why = async (config: RunConfig): Promise<string> => (await forecast(config, place))[2]!.why;
  assert.equal(await why(base), "this version of Roslin does it differently");
  assert.equal(await why(withField("train.seed", 1)), "seed is 1, was 42; this version of Roslin does it differently");
});
