import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { WorkflowFailedError } from "@temporalio/client";
import { ApplicationFailure } from "@temporalio/common";
import { Context } from "@temporalio/activity";
import { Worker } from "@temporalio/worker";
import { ChangedInputError, UserError } from "../../core/errors.js";
import type { StageName } from "../../core/stages/results.js";
import { lookAt } from "../../cli/show/follow.js";
import { bundleWorkflows } from "../../workers/bundle.js";
import { inActivity } from "../../workers/context.js";
import { QUERIES, type PipelineActivities, type RunProgress, type StageInput } from "../../workflows/contract.js";
import { until } from "./pauses.js";
import { ask, quickConfig, resultOf, startPlace, type Place } from "./place.js";

let place: Place;
before(async () => {
  place = await startPlace();
});
afterEach(() => place.clear());
after(() => place.stop());

const failure = async (result: Promise<unknown>): Promise<ApplicationFailure> => {
  const error = await result.then(
    () => assert.fail("the run did not fail"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof WorkflowFailedError, String(error));
  assert.ok(error.cause instanceof ApplicationFailure, String(error.cause));
  return error.cause;
};

test("a run goes through its stages, hands each the outputs of those before, and shows how far it is", async () => {
  const seen: Record<string, string[]> = {};
  const note =
    <Name extends StageName>(name: keyof PipelineActivities, stage: Name, outputs: readonly string[]) =>
    async (input: StageInput) => {
      seen[name] = input.inputs.map((artifact) => artifact.name);
      return resultOf(stage, outputs);
    };
  await place.pipeline({
    evaluate: note("evaluate", "evaluate", ["report"]),
    publish: note("publish", "publish", ["published"]),
    // as a worker of an earlier version names it, such as before an upgrade
    finishTraining: note("finishTraining", "train", ["model"]),
  });
  const ranks: number[] = [];
  await Promise.all(
    [0, 1].map((slot) =>
      place.gpu(slot, 2, async ({ worker }) => {
        ranks.push(worker);
        return { status: "finished", step: 4 };
      }),
    ),
  );
  const run = await place.start("whole", quickConfig());
  const result = await run.result();
  assert.deepEqual(
    result.stages.map(({ stage }) => stage),
    ["download", "preprocess", "train", "evaluate", "publish"],
  );
  assert.equal(result.trainingAttempts, 1);
  assert.deepEqual(ranks.sort(), [0, 1]);
  assert.deepEqual(seen["finishTraining"], ["model", "dataset", "tokens"]);
  assert.deepEqual(seen["publish"], ["model", "dataset", "tokens", "tuned", "report"]);
  const progress = await ask<RunProgress>(run, QUERIES.progress);
  assert.deepEqual(
    progress.rows.map(({ state }) => state),
    ["done", "done", "done", "done", "done"],
  );

  const description = await run.describe();
  assert.equal(description.typedSearchAttributes.getAll().find(({ key }) => key.name === "RoslinStage")?.value, "publish");
  const history = await run.fetchHistory();
  const ids = history
    .events!.map((event) => event.activityTaskScheduledEventAttributes?.activityId)
    .filter((id) => id !== undefined && id !== null);
  for (const id of ["plan", "download", "preprocess", "train-begin-1", "train-0-g1", "train-1-g1", "train-finish", "evaluate", "publish"])
    assert.ok(ids.includes(id), id);
  await Worker.runReplayHistory({ workflowBundle: await bundleWorkflows() }, history, "whole");
});

test("wrong input fails the run at once, with every problem named", async () => {
  await place.pipeline({ plan: () => assert.fail("nothing is planned for a wrong input") });
  const run = await place.start("wrong", { train: { learningrate: 1, epochs: -1 }, modle: {} });
  const error = await failure(run.result());
  assert.equal(error.type, "ConfigError");
  assert.match(error.message, /train\.learningRate/);
  assert.match(error.message, /train\.epochs/);
  assert.match(error.message, /did you mean model/);
});

test("a stage that finds its input changed has the stages before make it again; one that finds so for ever ends the run", async () => {
  const calls: string[] = [];
  let changes = 2;
  const called = async <Name extends StageName>(name: Name, outputs: readonly string[]) => {
    calls.push(name);
    if (name === "evaluate" && changes-- > 0) throw new ChangedInputError("the tokens changed");
    return resultOf(name, outputs);
  };
  await place.pipeline({
    download: () => called("download", ["model", "dataset"]),
    preprocess: () => called("preprocess", ["tokens"]),
    beginTraining: async () => ({ finished: resultOf("train", ["tuned"]) }),
    evaluate: () => called("evaluate", ["report"]),
  });
  await place.gpu(0, 1, () => assert.fail("training is finished already"));
  const result = await (await place.start("changed", quickConfig())).result();
  assert.deepEqual(
    result.stages.map(({ stage }) => stage),
    ["download", "preprocess", "train", "evaluate", "publish"],
  );
  assert.equal(calls.join(" "), Array(3).fill("download preprocess evaluate").join(" "));
  changes = 100;
  const error = await failure((await place.start("changing", quickConfig())).result());
  assert.equal(error.message, "evaluate: the tokens changed");
});

test("a user error ends the run at the first attempt; any other error is tried again", async () => {
  let downloads = 0;
  let evaluations = 0;
  await place.pipeline({
    download: async () => {
      if (++downloads < 3) throw new Error("the network is gone");
      return resultOf("download", ["model", "dataset"]);
    },
    beginTraining: async () => ({ finished: resultOf("train", ["tuned"]) }),
    evaluate: async () => {
      evaluations++;
      throw new UserError("the test rows are gone", { file: "tokens" });
    },
  });
  await place.gpu(0, 1, () => assert.fail("training is finished already"));
  const run = await place.start("mend", quickConfig());
  const error = await failure(run.result());
  assert.equal(error.message, "evaluate: the test rows are gone [file=tokens]");
  assert.equal(error.type, "UserError");
  assert.deepEqual({ downloads, evaluations }, { downloads: 3, evaluations: 1 });
});

test("a stage goes on however often its worker goes away", async () => {
  let downloads = 0;
  await place.pipeline({
    download: async () => {
      if (++downloads > 21) return resultOf("download", ["model", "dataset"]);
      throw ApplicationFailure.create({ message: "the worker was stopped", type: "WorkerShutdown", nextRetryDelay: "10 milliseconds" });
    },
    beginTraining: async () => ({ finished: resultOf("train", ["tuned"]) }),
  });
  await place.gpu(0, 1, () => assert.fail("training is finished already"));
  assert.equal((await (await place.start("evenings", quickConfig())).result()).stages.length, 5);
  assert.equal(downloads, 22);
});

test("a cancelled run waits until its stage has stopped writing", async () => {
  let begun = false;
  let stopped = false;
  await place.pipeline({
    preprocess: async () => {
      begun = true;
      const { cancelled } = Context.current();
      const beat = setInterval(() => Context.current().heartbeat(), 100);
      await cancelled.catch(() => undefined).finally(() => clearInterval(beat));
      await sleep(500);
      stopped = true;
      return cancelled;
    },
  });
  const run = await place.start("cancelled", quickConfig());
  while (!begun) await sleep(100);
  await run.cancel();
  await assert.rejects(run.result(), WorkflowFailedError);
  assert.equal((await run.describe()).status.name, "CANCELLED");
  assert.ok(stopped);
  const { rows } = await ask<RunProgress>(run, QUERIES.progress);
  assert.equal(rows.find(({ stage }) => stage === "preprocess")!.state, "cancelled");
});

test("the pipeline worker may go in the middle of a stage: another goes on", async () => {
  let attempts = 0;
  const evaluate = async () => {
    if (++attempts > 1) return resultOf("evaluate", ["report"]);
    await Context.current().cancelled.catch(() => undefined);
    throw ApplicationFailure.create({ message: "the worker was stopped", type: "WorkerShutdown" });
  };
  const activities: Partial<PipelineActivities> = { beginTraining: async () => ({ finished: resultOf("train", ["tuned"]) }), evaluate };
  const stopFirst = await place.pipeline(activities);
  await place.gpu(0, 1, () => assert.fail("training is finished already"));
  const run = await place.start("moved", quickConfig());
  while (attempts === 0) await sleep(100);
  await stopFirst();
  await place.pipeline(activities);
  assert.equal((await run.result()).stages.length, 5);
  assert.equal(attempts, 2);
});

test("progress goes out as heartbeats; work in which nothing moves is stopped and tried again", async () => {
  let attempts = 0;
  let told: unknown;
  await place.pipeline({
    beginTraining: async () => ({ finished: resultOf("train", ["tuned"]) }),
    evaluate: () =>
      inActivity(
        async (context) => {
          // the second one waits until it was looked at
          if (++attempts > 1) return until(() => told !== undefined).then(() => resultOf("evaluate", ["report"]));
          context.progress({ stage: "evaluate", done: 3, total: 9, unit: "items", loss: Number.NaN });
          return new Promise<never>((_, reject) => context.signal.addEventListener("abort", () => reject(new Error("stopped"))));
        },
        { stallMs: 1500 },
      ),
  });
  await place.gpu(0, 1, () => assert.fail("training is finished already"));
  const run = await place.start("stalled", quickConfig());
  while (told === undefined) {
    const { progress, failures } = lookAt((await run.describe()).raw.pendingActivities ?? []);
    if (progress?.stage === "evaluate" && failures.length > 0) told = { progress, failures };
    await sleep(100);
  }
  assert.deepEqual(told, {
    progress: { stage: "evaluate", done: 3, total: 9, unit: "items" },
    failures: ["evaluate: attempt 2 begins, because nothing has moved for 1.5 s"],
  });
  assert.equal((await run.result()).stages.length, 5);
});

test("all stages go to the machine that planned: another one in the namespace has not what they leave", async () => {
  await place.pipeline();
  await place.gpu(0, 1, () => Promise.resolve({ status: "finished", step: 4 }));
  const run = await place.start("at-home", quickConfig());
  await run.result();
  const scheduled = (await run.fetchHistory()).events!.flatMap((event) => event.activityTaskScheduledEventAttributes ?? []);
  assert.deepEqual(
    scheduled.map(({ activityType, taskQueue }) => [activityType!.name, taskQueue!.name]),
    [
      ["plan", "roslin"],
      ...["download", "preprocess"].map((name) => [name, "roslin-stages-test-host"]),
      ["ping", "roslin-gpu-test-host-0"],
      ["beginTraining", "roslin-stages-test-host"],
      ["trainRank", "roslin-gpu-test-host-0"],
      ...["finishTraining", "evaluate", "publish"].map((name) => [name, "roslin-stages-test-host"]),
    ],
  );
});
