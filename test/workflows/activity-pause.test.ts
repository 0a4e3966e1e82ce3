import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Context } from "@temporalio/activity";
import type { WorkflowHandle } from "@temporalio/client";
import { ApplicationFailure } from "@temporalio/common";
import type { GpuActivities } from "../../workflows/contract.js";
import { generations, progressOf, until, work } from "./pauses.js";
import { quickConfig, resultOf, startPlace, type Place } from "./place.js";

/** Pauses of single activities as the CLI and the UI do them. */

let place: Place;
before(async () => {
  place = await startPlace();
});
afterEach(() => place.clear());
after(() => place.stop());

const activityPause = (workflowId: string, id: string): Promise<unknown> =>
  place.client.workflowService.pauseActivity({ namespace: "default", execution: { workflowId }, id });
const activityUnpause = (workflowId: string, id: string): Promise<unknown> =>
  place.client.workflowService.unpauseActivity({ namespace: "default", execution: { workflowId }, id });
const trainNote = async (run: WorkflowHandle): Promise<string> => (await progressOf(run)).rows.find(({ stage }) => stage === "train")!.note;

test("a stage whose activity is paused saves, waits, and goes on at unpause", async () => {
  const counts = work();
  let calls = 0;
  await place.pipeline({
    beginTraining: async () => ({ finished: resultOf("train", ["tuned"]) }),
    evaluate: () => (++calls === 1 ? counts.untilTold() : Promise.resolve(resultOf("evaluate", ["report"]))),
  });
  await place.gpu(0, 1, () => assert.fail("training is finished already"));
  const run = await place.start("one-stage", quickConfig());
  await until(() => counts.running === 1);
  await activityPause("one-stage", "evaluate");
  await until(() => counts.saved === 1);
  // longer than the heartbeat's timeout
  await sleep(11_000);
  const [pending] = (await run.describe()).raw.pendingActivities!;
  assert.deepEqual({ id: pending?.activityId, paused: pending?.paused, calls }, { id: "evaluate", paused: true, calls: 1 });
  await activityUnpause("one-stage", "evaluate");
  assert.equal((await run.result()).stages.length, 5);
});

test("a worker whose activity was paused is waited for although it dies with the others, and the run says how it goes on", async () => {
  const hub = { running: 0, paused: false, unpaused: false };
  await place.pipeline({ beginTraining: generations().begin });
  const rank: (slot: number) => GpuActivities["trainRank"] =
    (slot) =>
    async ({ attempt }) => {
      if (attempt.generation > 1) return { status: "finished", step: 4 };
      hub.running++;
      const beat = setInterval(() => Context.current().heartbeat(), 100);
      await until(() => hub.paused);
      clearInterval(beat);
      // says nothing any more, as if killed when it was paused; the other loses it
      if (slot === 1) await until(() => hub.unpaused);
      throw ApplicationFailure.create({ message: "worker 1 of 2 is gone", type: "PeerLostError" });
    };
  for (const slot of [0, 1]) await place.gpu(slot, 2, rank(slot));
  const run = await place.start("held", quickConfig());
  await until(() => hub.running === 2);
  hub.paused = true;
  await activityPause("held", "train-1-g1");
  await until(async () => (await trainNote(run)).includes("temporal activity unpause --workflow-id held --activity-id train-1-g1"));
  // longer than the heartbeat's timeout and the time that an activity may wait for its worker
  await sleep(16_000);
  assert.deepEqual(
    (await run.describe()).raw.pendingActivities!.map(({ activityId, paused }) => ({ activityId, paused })),
    [{ activityId: "train-1-g1", paused: true }],
  );
  hub.unpaused = true;
  await activityUnpause("held", "train-1-g1");
  assert.equal((await run.result()).trainingAttempts, 2);
});
