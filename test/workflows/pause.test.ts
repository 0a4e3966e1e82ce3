import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Context } from "@temporalio/activity";
import { WorkflowFailedError, type WorkflowHandle } from "@temporalio/client";
import { ApplicationFailure } from "@temporalio/common";
import { inActivity } from "../../workers/context.js";
import { LEASE_ID, QUERIES, SIGNALS, type GpuActivities, type LeaseState } from "../../workflows/contract.js";
import { generations, progressOf, until, work } from "./pauses.js";
import { ask, quickConfig, resultOf, startPlace, type Place } from "./place.js";

/** Pauses of the whole run by signal. */

let place: Place;
before(async () => {
  place = await startPlace();
});
afterEach(() => place.clear());
after(() => place.stop());

const stateOf = async (run: WorkflowHandle, stage: string): Promise<string> =>
  (await progressOf(run)).rows.find((row) => row.stage === stage)!.state;
const isPaused = async (run: WorkflowHandle): Promise<boolean> => (await progressOf(run)).pause.startsWith("paused");
const lease = (): Promise<LeaseState> => ask<LeaseState>(place.client.workflow.getHandle(LEASE_ID), QUERIES.lease);
const pause = (run: WorkflowHandle): Promise<void> => run.signal(SIGNALS.pause);
const resume = (run: WorkflowHandle): Promise<void> => run.signal(SIGNALS.resume);
const statusOf = async (run: WorkflowHandle): Promise<string> => (await run.describe()).status.name;

test("a paused run saves in the stage where it is, waits and says with what command it goes on", async () => {
  const counts = work();
  let calls = 0;
  await place.pipeline({
    download: () => (++calls === 1 ? counts.untilTold() : Promise.resolve(resultOf("download", ["model", "dataset"]))),
  });
  await place.gpu(0, 1, async () => ({ status: "finished", step: 4 }));
  const run = await place.start("stage", quickConfig());
  await until(() => counts.running === 1);
  await pause(run);
  await until(() => isPaused(run));
  assert.equal(counts.saved, 1);
  assert.equal(await stateOf(run, "download"), "paused");
  assert.match((await progressOf(run)).pause, /temporal workflow signal --workflow-id stage --name resume$/);
  await pause(run);
  await sleep(500);
  assert.equal(calls, 1);
  await resume(run);
  await resume(run);
  assert.equal((await run.result()).stages.length, 5);
  assert.equal(calls, 2);
  assert.equal((await progressOf(run)).pause, "");
});

test("resume without pause does nothing; pause and resume before a stage hold it back and let it go", async () => {
  let downloads = 0;
  let planning!: () => void;
  const planned = new Promise<void>((resolve) => (planning = resolve));
  let go!: () => void;
  const gate = new Promise<void>((resolve) => (go = resolve));
  await place.pipeline({
    preprocess: async () => {
      planning();
      // does not hear of a pause, as one that is nearly done
      await gate;
      return resultOf("preprocess", ["tokens"]);
    },
    download: async () => {
      downloads++;
      return resultOf("download", ["model", "dataset"]);
    },
    beginTraining: async () => ({ finished: resultOf("train", ["tuned"]) }),
  });
  await place.gpu(0, 1, () => assert.fail("training is finished already"));
  const run = await place.start("between", quickConfig());
  await resume(run);
  await planned;
  await pause(run);
  await until(async () => (await progressOf(run)).pause !== "");
  go();
  await until(() => isPaused(run));
  assert.equal(await stateOf(run, "preprocess"), "done", "what came to its end is not done again");
  assert.equal(await stateOf(run, "train"), "paused");
  await sleep(300);
  await resume(run);
  assert.equal((await run.result()).stages.length, 5);
  assert.equal(downloads, 1);

  const second = await place.client.workflow.signalWithStart("finetune", {
    taskQueue: "roslin",
    workflowId: "born-paused",
    args: [quickConfig()],
    signal: SIGNALS.pause,
    signalArgs: [],
  });
  await until(() => isPaused(second));
  assert.equal(downloads, 1);
  await resume(second);
  await second.result();
  assert.equal(downloads, 2);
});

/** Ranks that stop as real ones do: what they have is committed, and they say so. */
function ranks(counts: { running: number }): GpuActivities["trainRank"] {
  return ({ attempt }) =>
    inActivity(async ({ signal }) => {
      if (attempt.generation > 1) return { status: "finished", step: 4 };
      counts.running++;
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      counts.running--;
      return { status: "stopped", step: 2 };
    });
}

test("a run paused in training gives its workers back, to others too, and asks for them again", async () => {
  const counts = { running: 0 };
  const first = generations();
  await place.pipeline({ beginTraining: first.begin });
  for (const slot of [0, 1]) await place.gpu(slot, 2, ranks(counts));
  const run = await place.start("training", quickConfig());
  await until(() => counts.running === 2);
  await pause(run);
  await until(() => isPaused(run));
  assert.equal(counts.running, 0);
  await until(async () => (await lease()).holder === null);
  const other = await (await place.start("other", quickConfig())).result();
  assert.equal(other.trainingAttempts, 1);
  await resume(run);
  assert.equal((await run.result()).trainingAttempts, 2);
});

test("a run paused while it waits for workers does not get them", async () => {
  await place.pipeline();
  const run = await place.start("waiting", quickConfig());
  await until(async () => (await stateOf(run, "train")) === "running");
  await sleep(500);
  await pause(run);
  await until(() => isPaused(run));
  await place.gpu(0, 1, async () => ({ status: "finished", step: 4 }));
  await sleep(1000);
  await until(async () => (await lease()).holder === null && (await lease()).waiting.length === 0);
  await resume(run);
  assert.equal((await run.result()).trainingAttempts, 1);
});

test("a worker that dies while a paused run's stage is saved, or an error then, does not end the run", async () => {
  let calls = 0;
  let end!: () => void;
  const over = new Promise<void>((resolve) => (end = resolve));
  await place.pipeline({
    evaluate: async () => {
      if (++calls > 2) return resultOf("evaluate", ["report"], { perplexity: {}, gate: {} });
      const { cancelled } = Context.current();
      const beat = setInterval(() => Context.current().heartbeat(), 100);
      await cancelled.catch(() => undefined).finally(() => clearInterval(beat));
      // the first says nothing any more, as if killed
      if (calls === 1) await over;
      throw ApplicationFailure.create({ message: "the network is gone just now" });
    },
    beginTraining: async () => ({ finished: resultOf("train", ["tuned"]) }),
  });
  await place.gpu(0, 1, () => assert.fail("training is finished already"));
  const run = await place.start("dies", quickConfig());
  for (const round of [1, 2]) {
    await until(() => calls === round);
    await pause(run);
    await until(() => isPaused(run));
    await resume(run);
  }
  end();
  assert.equal((await run.result()).stages.length, 5);
});

test("a paused run can be cancelled, and reset: then it still is paused until it is told to go on", async () => {
  const counts = work();
  let calls = 0;
  await place.pipeline({
    preprocess: () => (++calls < 3 ? counts.untilTold() : Promise.resolve(resultOf("preprocess", ["tokens"]))),
    beginTraining: async () => ({ finished: resultOf("train", ["tuned"]) }),
  });
  await place.gpu(0, 1, () => assert.fail("training is finished already"));
  const cancelled = await place.start("cancelled-paused", quickConfig());
  await until(() => counts.running === 1);
  await pause(cancelled);
  await until(() => isPaused(cancelled));
  await cancelled.cancel();
  await assert.rejects(cancelled.result(), WorkflowFailedError);
  assert.equal(await statusOf(cancelled), "CANCELLED");

  const run = await place.start("reset-paused", quickConfig());
  await until(() => counts.running === 1);
  await pause(run);
  await until(() => isPaused(run));
  await reset(run.workflowId, 4);
  const again = place.client.workflow.getHandle<() => Promise<{ stages: unknown[] }>>(run.workflowId);
  await until(() => isPaused(again).catch(() => false));
  await resume(again);
  assert.equal((await again.result()).stages.length, 5);
  assert.equal(await statusOf(again), "COMPLETED");
});

/** As `temporal workflow reset --event-id` does. */
async function reset(workflowId: string, eventId: number): Promise<void> {
  await place.client.workflowService.resetWorkflowExecution({
    namespace: "default",
    workflowExecution: { workflowId },
    workflowTaskFinishEventId: eventId as never,
    reason: "once more",
    requestId: `${workflowId}-${eventId}`,
  });
}
