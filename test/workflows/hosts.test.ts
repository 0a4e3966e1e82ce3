import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PeerLostError } from "../../core/errors.js";
import {
  LEASE_ID,
  QUERIES,
  type GpuActivities,
  type LeaseState,
  type PipelineActivities,
  type RankPlace,
} from "../../workflows/contract.js";
import { progressOf, until, work } from "./pauses.js";
import { ask, HOST, quickConfig, resultOf, startPlace, type Place } from "./place.js";

/** Shared runs: workers of several machines, and stages that move. */

let place: Place;
before(async () => {
  place = await startPlace();
});
afterEach(() => place.clear());
after(() => place.stop());

const sharedConfig = (workers: object = {}): unknown =>
  quickConfig({
    engine: "deepspeed",
    shards: 8,
    workers: { min: 1, waitSeconds: 3, hosts: 2, store: "file:///shared", ...workers },
  });

/** What was called where, in order. */
class Calls {
  readonly lines: string[] = [];
  readonly places: (readonly RankPlace[] | undefined)[] = [];
  private generation = 0;

  activities(host: string): Partial<PipelineActivities> {
    const note = (line: string): void => void this.lines.push(`${line} on ${host}`);
    return {
      download: async () => (note("download"), resultOf("download", ["model", "dataset"])),
      preprocess: async () => (note("preprocess"), resultOf("preprocess", ["tokens"])),
      beginTraining: async ({ workers, places }) => {
        note(`begin ${workers}`);
        this.places.push(places);
        return { attempt: { generation: ++this.generation, workers, resumeStep: 0, totalSteps: 4 } };
      },
      finishTraining: async () => (note("finish"), resultOf("train", ["tuned"])),
      evaluate: async () => (
        note("evaluate"),
        resultOf("evaluate", ["report"], { perplexity: { base: 20, tuned: 10 }, gate: { judged: true, passed: true } })
      ),
      publish: async () => (note("publish"), resultOf("publish", ["published"])),
    };
  }
}

async function startGpus(host: string, count: number, rank: (slot: number) => GpuActivities["trainRank"]): Promise<() => Promise<void>> {
  const stops = await Promise.all(Array.from({ length: count }, (_, slot) => place.gpu(slot, count, rank(slot), host)));
  return async () => void (await Promise.all(stops.map((stop) => stop())));
}

/** Ranks as small as can be. */
const loses: GpuActivities["trainRank"] = async () => {
  throw new PeerLostError("a worker is gone");
};
const finishes: GpuActivities["trainRank"] = async () => ({ status: "finished", step: 4 });
const trainNote = async (id: string): Promise<string> =>
  (await progressOf(place.client.workflow.getHandle(id))).rows.find(({ stage }) => stage === "train")!.note;

test("a shared run trains on two machines; the one with most workers has the first ranks and the stages from then on", async () => {
  const calls = new Calls();
  const ranks: string[] = [];
  const rank =
    (host: string) =>
    (slot: number): GpuActivities["trainRank"] =>
    async ({ worker }) => {
      ranks[worker] = `${host}-${slot}`;
      return { status: "finished", step: 4 };
    };
  await place.pipeline(calls.activities(HOST));
  for (const host of ["few", "many"]) await place.stages(host, calls.activities(host));
  await startGpus("few", 2, rank("few"));
  await startGpus("many", 3, rank("many"));
  await startGpus(HOST, 1, () => () => assert.fail("two machines have more workers"));
  const result = await (await place.start("two", sharedConfig())).result();
  assert.deepEqual(calls.lines, [
    `download on ${HOST}`,
    `preprocess on ${HOST}`,
    "begin 5 on many",
    "finish on many",
    "evaluate on many",
    "publish on many",
  ]);
  assert.deepEqual(ranks, ["many-0", "many-1", "many-2", "few-0", "few-1"]);
  const address = "127.0.0.1";
  assert.deepEqual(
    calls.places[0],
    ["many", "many", "many", "few", "few"].map((host) => ({ host, address })),
  );
  assert.equal(result.trainingAttempts, 1);
});

test("a run that is not shared has the workers of its own machine, and no places", async () => {
  const calls = new Calls();
  await place.pipeline(calls.activities(HOST));
  await startGpus(HOST, 1, () => finishes);
  await startGpus("many", 3, () => () => assert.fail("another machine"));
  await (await place.start("alone", quickConfig())).result();
  assert.deepEqual(calls.lines.slice(2), [`begin 1 on ${HOST}`, `finish on ${HOST}`, `evaluate on ${HOST}`, `publish on ${HOST}`]);
  assert.deepEqual(calls.places, [undefined]);
});

test("a run waits for a second machine, says so, and begins without it when the time is over", async () => {
  const calls = new Calls();
  await place.pipeline(calls.activities(HOST));
  await startGpus(HOST, 2, () => finishes);
  const run = await place.start("waits", sharedConfig({ waitSeconds: 6 }));
  await until(async () => (await trainNote("waits")) === "waiting for GPU workers: 2 of 2 on 1 of 2 machines are registered");
  assert.equal((await run.result()).trainingAttempts, 1);
  assert.deepEqual(calls.lines[2], `begin 2 on ${HOST}`);
});

test("when a machine is lost, the next attempt is on the other one, and so are the stages after it", async () => {
  const calls = new Calls();
  await place.pipeline(calls.activities(HOST));
  for (const host of ["kept", "lost"]) await place.stages(host, calls.activities(host));
  await startGpus("kept", 2, () => async (task) => (task.attempt.generation === 1 ? loses(task) : finishes(task)));
  let cut!: () => void;
  const isCut = new Promise<void>((resolve) => (cut = resolve));
  const stop = await startGpus("lost", 3, () => async (task) => {
    await isCut;
    return loses(task);
  });
  const run = await place.start("loses", sharedConfig());
  await until(() => calls.lines.includes("begin 5 on lost"));
  const gone = stop();
  cut();
  const since = Date.now();
  await run.result();
  await gone;
  console.log(`from the loss to the end ${((Date.now() - since) / 1000).toFixed(1)} s`);
  assert.deepEqual(calls.lines.slice(2), ["begin 5 on lost", "begin 2 on kept", "finish on kept", "evaluate on kept", "publish on kept"]);
  const { workers } = await ask<LeaseState>(place.client.workflow.getHandle(LEASE_ID), QUERIES.lease);
  assert.deepEqual(new Set(workers.map(({ host }) => host)), new Set(["kept"]));
});

test("a machine that takes no stages for a minute is left, in training and after it, but not while a stage is paused", async () => {
  const calls = new Calls();
  const counts = work();
  let finished = false;
  await place.pipeline({
    ...calls.activities(HOST),
    evaluate: (input) =>
      input.config.publish.target === "file:///paused" && counts.saved === 0 ? counts.untilTold() : calls.activities(HOST).evaluate!(input),
    beginTraining: async (input) => (finished ? { finished: resultOf("train", ["tuned"]) } : calls.activities(HOST).beginTraining!(input)),
  });
  const stopHere = await startGpus(HOST, 1, () => finishes);
  const paused = await place.start("paused", { ...(sharedConfig({ hosts: 1 }) as object), publish: { target: "file:///paused" } });
  await until(() => counts.running === 1);
  await place.client.workflowService.pauseActivity({ namespace: "default", execution: { workflowId: "paused" }, id: "evaluate" });
  await until(() => counts.saved === 1);
  const pausedAt = Date.now();
  await stopHere();

  // its stages go away when it has finished training
  const gone = new Calls();
  let stopped: Promise<void> | undefined;
  const stop = await place.stages("gone", {
    ...gone.activities("gone"),
    finishTraining: (input) => {
      stopped = stop();
      return gone.activities("gone").finishTraining!(input);
    },
  });
  const stopGone = await startGpus("gone", 2, () => finishes);
  const evaluated = await place.start("gone", sharedConfig({ hosts: 1 }));
  await until(() => stopped !== undefined);
  await stopped;
  await stopGone();
  calls.lines.length = 0;

  // of the first machine only the GPU workers answer; the second one's stages go away when its ranks have finished
  await startGpus("deaf", 3, () => () => assert.fail("its attempt never begins"));
  const stopMute = await place.stages("mute", gone.activities("mute"));
  let muted: Promise<void> | undefined;
  const stopRanks = await startGpus("mute", 2, () => async () => {
    await (muted ??= stopMute());
    return { status: "finished", step: 4 };
  });
  const trained = await place.start("deaf", sharedConfig({ min: 2 }));
  await until(async () => (await trainNote("deaf")).startsWith("deaf takes no stages"));
  await until(() => muted !== undefined);
  await startGpus(HOST, 2, () => () => assert.fail("all steps are done"));
  finished = true;
  await until(async () => (await trainNote("deaf")).startsWith("mute takes no stages"));
  await stopRanks();
  assert.equal((await trained.result()).stages.length, 5);
  assert.equal((await evaluated.result()).stages.length, 5);
  assert.deepEqual(gone.lines, ["begin 2 on gone", "finish on gone", "begin 2 on mute"]);
  assert.equal(calls.lines.filter((line) => line === `evaluate on ${HOST}`).length, 2);

  await sleep(Math.max(0, pausedAt + 70_000 - Date.now()));
  const [pending] = (await paused.describe()).raw.pendingActivities!;
  assert.deepEqual([pending?.activityId, pending?.paused], ["evaluate", true]);
  await place.client.workflowService.unpauseActivity({ namespace: "default", execution: { workflowId: "paused" }, id: "evaluate" });
  assert.equal((await paused.result()).stages.length, 5);
});
