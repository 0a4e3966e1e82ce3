import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Context } from "@temporalio/activity";
import { ApplicationFailure, WorkflowFailedError, type WorkflowHandle } from "@temporalio/client";
import { UnreachableError } from "../../core/errors.js";
import type { StageContext } from "../../activities/common/stage.js";
import { inActivity } from "../../workers/context.js";
import type { PipelineActivities } from "../../workflows/contract.js";
import { until } from "./pauses.js";
import { quickConfig, resultOf, startPlace, type Place } from "./place.js";

/** Failures of a stage are counted by the work: stops and pauses, however many, are not failures. */

let place: Place;
before(async () => {
  place = await startPlace();
});
afterEach(() => place.clear());
after(() => place.stop());

const MANY = 25;
const long = { timeout: 120_000 };

/** `evaluate` that does what it is told, with training already done. */
const evaluating = (work: (context: StageContext) => Promise<void>): Partial<PipelineActivities> => ({
  beginTraining: async () => ({ finished: resultOf("train", ["tuned"]) }),
  evaluate: () =>
    inActivity(
      async (context) => {
        await work(context);
        return resultOf("evaluate", ["report"]);
      },
      { waitMs: 10 },
    ),
});

const untilTold = ({ signal }: StageContext): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("stopped")), { once: true }));

const failureOf = async (run: WorkflowHandle): Promise<ApplicationFailure> => {
  const error = await run.result().then(
    () => assert.fail("the run did not fail"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof WorkflowFailedError && error.cause instanceof ApplicationFailure, String(error));
  return error.cause;
};

test("after any number of stops and pauses the first failure of a stage is its first, and is tried again at once", long, async () => {
  let calls = 0;
  const failedAt: number[] = [];
  const attempts: number[] = [];
  const activities = evaluating(async (context) => {
    calls++;
    attempts.push(Context.current().info.attempt);
    if (calls <= 2 * MANY) return untilTold(context);
    if (failedAt.push(performance.now()) <= 2) throw new UnreachableError("the hub answered 503");
  });
  let stop = await place.pipeline(activities);
  await place.gpu(0, 1, () => assert.fail("training is finished already"));
  const run = await place.start("evenings", quickConfig());
  const execution = { workflowId: "evenings" };
  for (let times = 1; times <= MANY; times++) {
    await until(() => calls === times);
    await stop();
    stop = await place.pipeline(activities);
  }
  console.log("stops", performance.now());
  for (let times = MANY + 1; times <= 2 * MANY; times++) {
    await until(() => calls === times);
    await place.client.workflowService.pauseActivity({ namespace: "default", execution, id: "evaluate" });
    await until(async () => Number((await run.describe()).raw.pendingActivities?.[0]?.state) !== 2);
    await place.client.workflowService.unpauseActivity({ namespace: "default", execution, id: "evaluate" });
  }
  console.log("pauses", performance.now());
  assert.equal((await run.result()).stages.length, 5);
  console.log(attempts.join(" "));
  assert.equal(failedAt.length, 3);
  const [first, second] = failedAt as [number, number];
  assert.ok(second - first < 5000, `${second - first} ms`);
});
