import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Stage } from "../../activities/common/stage.js";
import { trainDefinition } from "../../activities/train/definition.js";
import { UserError } from "../../core/errors.js";
import type { StageResult } from "../../core/stages/results.js";
import { trainLocally } from "../../workers/local-training.js";
import { places } from "../engines/places.js";
import { childrenOf } from "../workers/children.js";
import { deadlyVariables, type Deadly } from "../workers/deadly.js";
import { job, madeRows, type Job } from "../workers/tiny.js";

/** What only an engine with a process of its own can meet, and what its errors say. */

const RANK = join(import.meta.dirname, "..", "engines", "rank-child.js");
const TRAIN = {
  engine: "deepspeed",
  shards: 2,
  microBatch: 1,
  accumulation: 2,
  epochs: 4,
  learningRate: 1e-3,
  checkpointEverySteps: 4,
};

const train = (made: Job): Promise<StageResult<"train">> => trainLocally(places, made.request, 2, made.context(), RANK);

function deadly(t: TestContext, made: Job, what: Omit<Deadly, "file" | "place">): void {
  const file = join(made.request.root, "deadly");
  for (const number of [1, 2, 3]) writeFileSync(`${file}.${number}`, "");
  const variables = deadlyVariables({ ...what, file, place: "barrier" });
  Object.assign(process.env, { DEADLY: variables["DEADLY"] });
  t.after(() => delete process.env["DEADLY"]);
}

/** The Python processes of the ranks, in the order of the ranks. */
function pythons(): number[] {
  return childrenOf(process.pid)
    .sort((a, b) => a - b)
    .flatMap((rank) => childrenOf(rank));
}

for (const [what, signal] of [
  ["killed", "SIGKILL"],
  ["frozen", "SIGSTOP"],
] as const)
  test(`a Python process that is ${what} is known within a minute, and the run comes to the same bytes`, async (t) => {
    const expected = await train(await job(t, madeRows(21), TRAIN));
    const made = await job(t, madeRows(21), TRAIN);
    const running = train(made);
    const commits = join(new Stage(trainDefinition, made.request).directory, "commits");
    while (!existsSync(join(commits, "000002.json"))) await sleep(5);
    const [, victim] = pythons();
    process.kill(victim!, signal);
    const struck = performance.now();
    while (!made.seen.some(({ note }) => note?.endsWith("starting again from the last checkpoint"))) await sleep(5);
    const seconds = (performance.now() - struck) / 1000;
    t.diagnostic(`${seconds.toFixed(1)} s`);
    assert.ok(seconds < 60);
    const { metrics, stateDigest } = await running;
    assert.equal(stateDigest, expected.stateDigest);
    assert.equal(metrics.attempts, 2);
    assert.deepEqual(metrics.losses, expected.metrics.losses);
  });

test("a step that is not finite is named with its shards and rows, and updates nothing", async (t) => {
  const made = await job(t, madeRows(21), { ...TRAIN, learningRate: 1e30 });
  await assert.rejects(train(made), (error: Error) => {
    assert.ok(error instanceof UserError, error.message);
    assert.match(error.message, /not finite, twice; nothing was updated.*\[step=1, loss=nan, norm=nan, shards=0 1, rows=[\d ]+\]$/);
    return true;
  });
});

test("a lack of memory names the setting to change", async (t) => {
  const made = await job(t, madeRows(21), TRAIN);
  deadly(t, made, { step: 2, shard: 1, signal: "memory" });
  await assert.rejects(train(made), (error: Error) => {
    assert.ok(error instanceof UserError, error.message);
    assert.match(error.message, /^worker 1 of 2 ran out of memory in the step with index 2: set train\.microBatch lower/);
    return true;
  });
});

test("a worker that was given a GPU which torch does not see fails at once, and trains on no CPU", async (t) => {
  const gpu = { index: 0, uuid: "GPU-00000000-0000-0000-0000-000000000000", name: "none", memory: 1, used: 0, driver: "1" };
  const made = await job(t, madeRows(21), TRAIN);
  const gpus = [gpu, gpu] as unknown as Parameters<typeof trainLocally>[5];
  await assert.rejects(trainLocally(places, made.request, 2, made.context(), RANK, gpus), (error: Error) => {
    assert.ok(error instanceof UserError, error.message);
    assert.match(error.message, /given the GPU GPU-0{8}.*torch sees none.*roslin doctor/);
    return true;
  });
});
