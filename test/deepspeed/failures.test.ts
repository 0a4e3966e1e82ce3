import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openLog } from "../../activities/train/log/commit-log.js";
import { Stage } from "../../activities/common/stage.js";
import { trainDefinition } from "../../activities/train/definition.js";
import { UserError } from "../../core/errors.js";
import type { StageResult } from "../../core/stages/results.js";
import { fileStore } from "../../infra/store/file-store.js";
import { trainLocally } from "../../workers/local-training.js";
import { places } from "../engines/places.js";
import { childrenOf } from "../workers/children.js";
import { deadlyVariables, type Deadly } from "../workers/deadly.js";
import { job, madeRows, type Job } from "../workers/tiny.js";
import { rankProcesses } from "./processes.js";

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

/** The Python processes of the ranks, in the order of the ranks; each test has its own, and all are gone at its end. */
function pythons(): number[] {
  return ranks().flatMap((rank) => childrenOf(rank));
}

/** The ranks' own processes, in their order. */
function ranks(): number[] {
  return childrenOf(process.pid).sort((a, b) => a - b);
}

const isGone = (pid: number): boolean => !rankProcesses().includes(pid);

/** Waits until it holds; returns the seconds that it took. */
async function secondsUntil(holds: () => boolean): Promise<number> {
  const from = performance.now();
  while (!holds()) await sleep(5);
  return (performance.now() - from) / 1000;
}

let first: Promise<StageResult<"train">> | undefined;
/** A run that nobody disturbs. */
const undisturbed = (t: TestContext): Promise<StageResult<"train">> => (first ??= job(t, madeRows(21), TRAIN).then((made) => train(made)));

/** Starts a run, strikes it after its second checkpoint, and waits until it has begun again and come to the same bytes. */
async function struck(t: TestContext, strike: () => void | Promise<void>): Promise<Job> {
  const expected = await undisturbed(t);
  const made = await job(t, madeRows(21), TRAIN);
  const running = train(made);
  const commits = join(new Stage(trainDefinition, made.request).directory, "commits");
  await secondsUntil(() => existsSync(join(commits, "000002.json")));
  await strike();
  const seconds = await secondsUntil(() => made.seen.some(({ note }) => note?.endsWith("starting again from the last checkpoint")));
  t.diagnostic(`known after ${seconds.toFixed(1)} s`);
  assert.ok(seconds < 60);
  const { metrics, stateDigest } = await running;
  assert.equal(stateDigest, expected.stateDigest);
  assert.equal(metrics.attempts, 2);
  assert.deepEqual(metrics.losses, expected.metrics.losses);
  assert.deepEqual(rankProcesses(), []);
  return made;
}

test("a Python process that is killed is known at once, and the run comes to the same bytes", async (t) => {
  const { seen } = await struck(t, () => void process.kill(pythons()[1]!, "SIGKILL"));
  assert.ok(seen.some(({ note }) => note?.startsWith("worker 1 of 2 died: its compute process ended (SIGKILL)")));
});

test("Python processes whose ranks are killed end at once, in a collective that waits for a frozen one and frozen themselves", async (t) => {
  await struck(t, async () => {
    const [waiting, frozen] = pythons() as [number, number];
    const [rank, other] = ranks() as [number, number];
    process.kill(frozen, "SIGSTOP");
    // the other one has come to a collective by then, and is in it for 45 s
    await sleep(1000);
    for (const [node, python] of [
      [rank, waiting],
      [other, frozen],
    ] as const) {
      process.kill(node, "SIGKILL");
      const seconds = await secondsUntil(() => isGone(python));
      t.diagnostic(`gone after ${seconds.toFixed(2)} s`);
      assert.ok(seconds < 5);
    }
  });
});

test("Ctrl-C, which reaches every process of the group, lets a run save", async (t) => {
  const made = await job(t, madeRows(21), TRAIN);
  const stop = new AbortController();
  const running = trainLocally(places, made.request, 2, made.context(stop.signal), RANK);
  const { directory } = new Stage(trainDefinition, made.request);
  await secondsUntil(() => existsSync(join(directory, "commits", "000002.json")));
  for (const pid of [...pythons(), ...ranks()]) process.kill(pid, "SIGINT");
  // what a process manager sends to all of a group
  for (const pid of pythons()) process.kill(pid, "SIGTERM");
  stop.abort(new Error("Ctrl-C"));
  await assert.rejects(running, /^Error: Ctrl-C$/);
  const last = (await openLog(fileStore(directory))).entries.at(-1);
  assert.ok(last?.kind === "checkpoint" && last.reason === "stop", JSON.stringify(last));
  assert.deepEqual(rankProcesses(), []);
});

test("a step that is not finite is named with its shards and rows, and updates nothing", async (t) => {
  const made = await job(t, madeRows(21), { ...TRAIN, learningRate: 1e30 });
  await assert.rejects(train(made), (error: Error) => {
    assert.ok(error instanceof UserError, error.message);
    assert.match(error.message, /not finite, twice; nothing was updated.*\[step=1, loss=nan, norm=nan, shards=0 1, rows=[\d ]+\]$/);
    return true;
  });
});

test("an exception in Python is one error with its step and rank, and begins again twice and no more", async (t) => {
  const made = await job(t, madeRows(21), TRAIN);
  deadly(t, made, { step: 2, shard: 1, signal: "throw" });
  await assert.rejects(
    train(made),
    /^Error: training was lost 3 times after step 0 .*: worker 1 of 2 failed in the step with index 2: RuntimeError: the step has failed, as the test wants$/,
  );
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
