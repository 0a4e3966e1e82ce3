import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Context } from "@temporalio/activity";
import { ApplicationFailure, WorkflowFailedError, type WorkflowHandle } from "@temporalio/client";
import { NativeConnection, Worker } from "@temporalio/worker";
import { UnreachableError, UserError } from "../../core/errors.js";
import type { StageContext } from "../../activities/common/stage.js";
import type { AttemptCount } from "../../workers/attempt-count.js";
import { inActivity } from "../../workers/context.js";
import { stageQueue } from "../../workflows/contract.js";
import { until } from "./pauses.js";
import { quickConfig, resultOf, startPlace, type Place } from "./place.js";

/** Failures of a stage are counted by the work: stops and pauses, however many, are not failures. */

let place: Place;
let connection: NativeConnection;
before(async () => {
  place = await startPlace();
  connection = await NativeConnection.connect({ address: place.address });
});
afterEach(() => place.clear());
after(async () => {
  await connection?.close();
  await place?.stop();
});

const [STOPS, PAUSES] = [21, 4];
const long = { timeout: 480_000 };
/** The state of an activity that the server holds. */
const PAUSED = 4;
/** Where the stages run: on one worker, which is stopped again and again. */
const HERE = "far-host";

/** Starts the stages' worker, whose download does what it is told; the run ends after it. Resolves to the function that stops it. */
async function startStages(waitMs: number, work: (context: StageContext) => Promise<void>): Promise<() => Promise<void>> {
  const worker = await Worker.create({
    connection,
    taskQueue: stageQueue(HERE),
    activities: {
      download: () =>
        inActivity(
          async (context) => {
            await work(context);
            return resultOf("download", ["model", "dataset"]);
          },
          { waitMs },
        ),
      preprocess: () => Promise.reject(new UserError("the download is done")),
    },
    maxHeartbeatThrottleInterval: "200 milliseconds",
  });
  const ended = worker.run();
  return async () => {
    worker.shutdown();
    await ended;
  };
}

const start = async (id: string): Promise<WorkflowHandle> => {
  await place.pipeline({ plan: async (config) => ({ config, host: HERE, searchAttributes: [], notes: [] }) });
  return place.start(id, quickConfig());
};

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

/** The count that an attempt was given. */
const countOf = (): AttemptCount | undefined =>
  (Context.current().info.heartbeatDetails as { attempts?: AttemptCount } | undefined)?.attempts;

test("after any number of stops and pauses the first failure of a stage is its first, and is tried again at once", long, async () => {
  let calls = 0;
  const failures: (number | undefined)[] = [];
  const failedAt: number[] = [];
  const work = async (context: StageContext): Promise<void> => {
    failures.push(countOf()?.failures);
    if (++calls <= STOPS + PAUSES) return untilTold(context);
    if (failedAt.push(performance.now()) <= 2) throw new UnreachableError("the hub answered 503");
  };
  let stop = await startStages(10, work);
  const run = await start("evenings");
  for (let times = 1; times <= STOPS; times++) {
    await until(() => calls === times);
    await stop();
    stop = await startStages(10, work);
  }
  const execution = { workflowId: "evenings" };
  for (let times = STOPS + 1; times <= STOPS + PAUSES; times++) {
    await until(() => calls === times);
    await place.client.workflowService.pauseActivity({ namespace: "default", execution, id: "download" });
    await until(async () => Number((await run.describe()).raw.pendingActivities?.[0]?.state) === PAUSED);
    await place.client.workflowService.unpauseActivity({ namespace: "default", execution, id: "download" });
  }
  assert.equal((await failureOf(run)).message, "preprocess: the download is done");
  await stop();
  assert.deepEqual(failures, [undefined, ...Array<number>(STOPS + PAUSES).fill(0), 1, 2]);
  const [first, second] = failedAt as [number, number];
  assert.ok(second - first < 5000, `tried again after ${second - first} ms`);
});

test("work that always fails ends the run after twenty failures without getting further, and says so", long, async () => {
  let calls = 0;
  const stop = await startStages(0, async ({ progress }) => {
    // the third one gets further than those before
    progress({ stage: "download", done: ++calls < 3 ? 1 : 2, total: 9, unit: "bytes" });
    throw new UnreachableError("the hub answered 500");
  });
  const error = await failureOf(await start("never"));
  await stop();
  assert.equal(error.message, "download: failed 20 times in a row without getting further; the last time: the hub answered 500");
  assert.equal(error.type, "UnreachableError");
  assert.equal(calls, 2 + 20);
});

test("GPU workers may be stopped before the first step as often as one likes", long, async () => {
  await place.pipeline();
  let calls = 0;
  await place.gpu(0, 1, async () => {
    if (++calls <= 25) throw ApplicationFailure.create({ message: "the worker was stopped", type: "WorkerShutdown" });
    if (calls === 26) throw new Error("out of luck");
    return { status: "finished", step: 4 };
  });
  const run = await place.start("flicker", quickConfig());
  assert.equal((await run.result()).trainingAttempts, 27);
});

test("a rank that was paused says so to the run, so that a pause is not taken for a lost worker", long, async () => {
  await place.pipeline();
  let calls = 0;
  await place.gpu(0, 1, async () => {
    if (++calls > 1) return { status: "finished", step: 4 };
    return inActivity(untilTold);
  });
  const run = await place.start("held-once", quickConfig());
  await until(() => calls === 1);
  const execution = { workflowId: "held-once" };
  await place.client.workflowService.pauseActivity({ namespace: "default", execution, id: "train-0-g1" });
  await until(async () => {
    const { raw } = await run.describe();
    return raw.pendingActivities?.some(({ activityId, state }) => activityId === "train-0-g1" && Number(state) === PAUSED) === true;
  });
  await place.client.workflowService.unpauseActivity({ namespace: "default", execution, id: "train-0-g1" });
  assert.equal((await run.result()).trainingAttempts, 2);
  const failed = (await run.fetchHistory()).events!.flatMap(({ activityTaskFailedEventAttributes: event }) => event ?? []);
  assert.deepEqual(
    failed.map(({ failure }) => failure?.applicationFailureInfo?.type),
    ["ActivityPause"],
  );
});
