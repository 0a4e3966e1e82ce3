import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Stage } from "../../activities/common/stage.js";
import type { EndEntry, LogEntry } from "../../activities/train/log/entries.js";
import { UserError } from "../../core/errors.js";
import { planStep } from "../../core/training/step-plan.js";
import { trainLocally } from "../../workers/local-training.js";
import { trainDeps } from "../../workers/train-deps.js";
import { deadlyVariables } from "./deadly.js";
import { job, madeRows, type Job } from "./tiny.js";
import { trainDefinition } from "../../activities/train/definition.js";

/** A step that kills its worker whenever it is tried, or only now and then. */

const STEP = 7;
const SHARD = 3;
const TRAIN = { shards: 4, microBatch: 1, accumulation: 2, epochs: 4, learningRate: 1e-3, checkpointEverySteps: 3 };
const ROWS = 21;

/** Makes the step deadly `times` times for the worker that hosts the shard; returns how often it was not yet. */
function deadly(
  t: TestContext,
  { request }: Job,
  times: number,
  signal: NodeJS.Signals = "SIGKILL",
  place: "barrier" | "graph" = "barrier",
): () => number {
  const file = join(request.root, "deadly");
  for (let number = 1; number <= times; number++) writeFileSync(`${file}.${number}`, "");
  const variables = deadlyVariables({ file, step: STEP, shard: SHARD, signal, place });
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  t.after(() => {
    for (const [name, value] of before)
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
  });
  return () => readdirSync(request.root).filter((name) => name.startsWith("deadly.")).length;
}

function ends({ request }: Job): EndEntry[] {
  const commits = join(new Stage(trainDefinition, request).directory, "commits");
  return readdirSync(commits)
    .sort()
    .map((name) => JSON.parse(readFileSync(join(commits, name), "utf8")) as LogEntry)
    .flatMap((entry) => (entry.kind === "end" ? [entry] : []));
}

test("a step that kills its worker three times in a row stops the run with step, shard and rows named; asked again, it tries again", async (t) => {
  const made = await job(t, madeRows(ROWS), TRAIN);
  const { request, context } = made;
  const left = deadly(t, made, 5);
  const split = { count: ROWS, row: (source: number) => ({ source, ...madeRows(ROWS)[source]! }) };
  const rows = planStep(split, request.config.train, STEP)
    .microBatches.flatMap(({ shards }) => shards.find(({ shard }) => shard === SHARD)?.rows ?? [])
    .map(({ source }) => source)
    .sort((a, b) => a - b);
  const stopped = (error: Error): boolean =>
    error instanceof UserError &&
    error.message.includes("killed its worker 3 times in a row") &&
    error.message.endsWith(`[step=${STEP}, shards=${SHARD}, rows=${rows.join(" ")}, times=3]`);
  await assert.rejects(trainLocally(trainDeps, request, 4, context()), stopped);
  assert.equal(left(), 2, "a fourth worker was not given to it");
  assert.deepEqual(
    ends(made).map(({ lost, poison }) => [lost, poison?.times ?? null]),
    [null, null, 3].map((times) => [[{ worker: SHARD, step: STEP, shards: [SHARD], shard: null }], times]),
  );
  const mended = await trainLocally(trainDeps, request, 4, context());
  assert.equal(left(), 0, "twice more it died on the way");
  const undisturbed = await job(t, madeRows(ROWS), TRAIN);
  assert.equal(mended.stateDigest, (await trainLocally(trainDeps, undisturbed.request, 1, undisturbed.context())).stateDigest);
  assert.ok(!existsSync(join(new Stage(trainDefinition, request).directory, "whereabouts")));
});

test("of a worker with several shards those are named that every dead worker hosted", async (t) => {
  const made = await job(t, madeRows(ROWS), TRAIN);
  deadly(t, made, 3);
  await assert.rejects(trainLocally(trainDeps, made.request, 2, made.context()), /\[step=7, shards=2 3, rows=[\d ]+, times=3\]$/);
});

test("of a worker with all shards that one is named whose rows were in a graph at every death", async (t) => {
  const made = await job(t, madeRows(ROWS), TRAIN);
  deadly(t, made, 3, "SIGKILL", "graph");
  await assert.rejects(trainLocally(trainDeps, made.request, 1, made.context()), /\[step=7, shards=3, rows=\d+ \d+, times=3\]$/);
});

test("a worker that is asked to stop in the same step again and again is no crash", async (t) => {
  const made = await job(t, madeRows(ROWS), TRAIN);
  const left = deadly(t, made, 5, "SIGTERM");
  const { request, context } = made;
  await trainLocally(trainDeps, request, 2, context());
  assert.ok(left() < 5);
  assert.ok(ends(made).every(({ lost }) => lost.length === 0));
});
