import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Stage, type StageRequest } from "../../activities/common/stage.js";
import { trainDefinition } from "../../activities/train/definition.js";
import { openLog } from "../../activities/train/log/commit-log.js";
import type { LogEntry } from "../../activities/train/log/entries.js";
import { UserError } from "../../core/errors.js";
import type { StageResult } from "../../core/stages/results.js";
import { fileStore } from "../../infra/store/file-store.js";
import { trainLocally } from "../../workers/local-training.js";
import { places } from "../engines/places.js";
import { deadlyVariables } from "../workers/deadly.js";
import { job, madeRows, type Job } from "../workers/tiny.js";

/** Big models: state that is kept elsewhere, fp16 with a loss scale, and what a lack of memory says. */

const RANK = join(import.meta.dirname, "..", "engines", "rank-child.js");
const TRAIN = {
  engine: "deepspeed",
  shards: 4,
  microBatch: 1,
  accumulation: 2,
  epochs: 7,
  maxSteps: 20,
  learningRate: 1e-3,
  weightDecay: 0.01,
  checkpointEverySteps: 4,
};

type Train = Partial<StageRequest["config"]["train"]>;

const requested = ({ request }: Job, train: Train): StageRequest => ({
  ...request,
  config: { ...request.config, train: { ...request.config.train, ...train } },
});

function train(made: Job, settings: Train = {}, signal?: AbortSignal): Promise<StageResult<"train">> {
  return trainLocally(places, requested(made, settings), 2, made.context(signal), RANK);
}

/** Trains until a checkpoint of this attempt is there, and stops. */
async function interrupted(made: Job, settings: Train): Promise<void> {
  const commits = join(new Stage(trainDefinition, requested(made, settings)).directory, "commits");
  const entries = (): string[] => (existsSync(commits) ? readdirSync(commits).filter((name) => name.endsWith(".json")) : []);
  const before = entries();
  const isNew = (name: string): boolean =>
    !before.includes(name) && (JSON.parse(readFileSync(join(commits, name), "utf8")) as LogEntry).kind === "checkpoint";
  const stop = new AbortController();
  const running = train(made, settings, stop.signal);
  const ended = running.then(
    () => "finished",
    () => "stopped",
  );
  while (!entries().some(isNew)) await Promise.race([sleep(5), running]);
  stop.abort(new Error("enough"));
  assert.equal(await ended, "stopped");
}

function setVariables(t: TestContext, variables: NodeJS.ProcessEnv): void {
  const before = Object.fromEntries(Object.keys(variables).map((name) => [name, process.env[name]]));
  Object.assign(process.env, variables);
  t.after(() => {
    for (const [name, value] of Object.entries(before))
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
  });
}

const CPU: Train = { offload: { optimizer: "cpu", parameters: "cpu", directory: null } };
let known: StageResult<"train"> | undefined;

/** The undisturbed run in fp32 that offloads nothing. */
async function undisturbed(t: TestContext): Promise<StageResult<"train">> {
  return (known ??= await train(await job(t, madeRows(21), TRAIN)));
}

test("offload to the CPU changes no bit, and a run goes on with it and without it", async (t) => {
  const { stateDigest, metrics } = await undisturbed(t);
  const made = await job(t, madeRows(21), TRAIN);
  await interrupted(made, CPU);
  await interrupted(made, {});
  const run = await train(made, CPU);
  assert.ok(run.metrics.resumedAtStep! >= 8);
  assert.deepEqual(run.metrics.losses, metrics.losses);
  assert.equal(run.stateDigest, stateDigest);
});

test("in fp16 a step that overflows is computed again with half the loss scale, and a resumed run has the same bits", async (t) => {
  // a larger scale is tried after every second update, until one overflows
  setVariables(t, { FP16_WINDOW: "2" });
  const fp16: Train = { precision: "fp16" };
  const once = await job(t, madeRows(21), TRAIN);
  const run = await train(once, fp16);
  const scales = await lossScales(once, fp16);
  t.diagnostic(scales.join(" "));
  assert.equal(scales.length, TRAIN.maxSteps);
  assert.ok(
    scales.every((scale) => scale >= 1 && Number.isInteger(Math.log2(scale))),
    "powers of two",
  );
  assert.ok(scales.at(-1)! < 2 ** (16 + Math.floor((TRAIN.maxSteps - 1) / 2)), "some overflowed");
  // no step was skipped
  const { metrics } = await undisturbed(t);
  const distance = Math.max(...run.metrics.losses!.map((loss, step) => Math.abs(loss! - metrics.losses![step]!)));
  t.diagnostic(`losses ${distance}`);
  assert.ok(distance <= 2e-3, `losses lie ${distance} apart from fp32`);
  assert.ok(distance > 1e-6, "it did compute in fp16");

  const made = await job(t, madeRows(21), TRAIN);
  await interrupted(made, fp16);
  const resumed = await train(made, fp16);
  assert.ok(resumed.metrics.resumedAtStep! > 0);
  assert.equal(resumed.stateDigest, run.stateDigest);
  assert.deepEqual(await lossScales(made, fp16), scales);
});

/** The loss scale of every step, as the commit log has them. */
async function lossScales(made: Job, settings: Train): Promise<number[]> {
  const log = await openLog(fileStore(new Stage(trainDefinition, requested(made, settings)).directory));
  const steps = log.entries.flatMap((entry) => (entry.kind === "checkpoint" ? entry.steps : []));
  return steps.map(({ lossScale }) => lossScale!);
}

const refused = (running: Promise<unknown>, message: RegExp): Promise<void> =>
  assert.rejects(running, (error: Error) => {
    assert.ok(error instanceof UserError, error.message);
    assert.match(error.message, message);
    return true;
  });

test("fp16 on a CPU that does not compute in it is refused before a step", async (t) => {
  setVariables(t, { FP16_REFUSED: "1" });
  await refused(train(await job(t, madeRows(21), TRAIN), { precision: "fp16" }), /^train\.precision "fp16" needs a GPU/);
});

test("offload to NVMe says what to install where its operator cannot be compiled, and leaves nothing", async (t) => {
  const extensions = await mkdtemp(join(tmpdir(), "extensions-"));
  const disk = await mkdtemp(join(tmpdir(), "disk-"));
  t.after(() => Promise.all([extensions, disk].map((directory) => rm(directory, { recursive: true }))));
  setVariables(t, { PATH: extensions, TORCH_EXTENSIONS_DIR: extensions });
  const nvme: Train = { offload: { optimizer: "nvme", parameters: "none", directory: disk } };
  const made = await job(t, madeRows(21), TRAIN);
  await refused(train(made, nvme), /needs DeepSpeed's operator async_io.*install g\+\+, ninja and libaio/);
  assert.deepEqual(
    readdirSync(disk, { recursive: true }).filter((name) => String(name).includes("rank")),
    [],
  );
});

test("a GPU without memory names the step, the rank and the settings to change", async (t) => {
  const made = await job(t, madeRows(21), TRAIN);
  const file = join(made.request.root, "deadly");
  for (const number of [1, 2, 3]) writeFileSync(`${file}.${number}`, "");
  const variables = deadlyVariables({ file, step: 2, shard: 2, signal: "gpu-memory", place: "barrier" });
  setVariables(t, { DEADLY: variables["DEADLY"] });
  await refused(
    train(made),
    /^worker 1 of 2 ran out of its GPU's memory in the step with index 2: set train\.microBatch lower.*set train\.offload.*\[microBatch=1, offload\.optimizer=none/,
  );
});
