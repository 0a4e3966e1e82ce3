import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Context } from "@temporalio/activity";
import { WorkflowFailedError, type WorkflowHandle } from "@temporalio/client";
import { ApplicationFailure, defaultPayloadConverter } from "@temporalio/common";
import { PeerLostError, UserError } from "../../core/errors.js";
import {
  FINETUNE,
  LEASE_ID,
  QUERIES,
  SIGNALS,
  TASK_QUEUE,
  gpuQueue,
  type GpuActivities,
  type LeaseNews,
  type LeaseRequest,
  type LeaseState,
  type RunProgress,
  type StageInput,
  type TrainingBegun,
} from "../../workflows/contract.js";
import { ask, HOST, quickConfig, resultOf, startPlace, type Place } from "./place.js";

let place: Place;
before(async () => {
  place = await startPlace();
});
afterEach(() => place.clear());
after(() => place.stop());

/** A commit log of one number: attempts go on from it. */
function fakeLog(): {
  step: number;
  attempts: { workers: number; resumeStep: number }[];
  begin(input: StageInput & { workers: number }): Promise<TrainingBegun>;
} {
  const log = {
    step: 0,
    attempts: [] as { workers: number; resumeStep: number }[],
    begin: async ({ workers }: StageInput & { workers: number }): Promise<TrainingBegun> => {
      log.attempts.push({ workers, resumeStep: log.step });
      return { attempt: { generation: log.attempts.length, workers, resumeStep: log.step, totalSteps: 10 } };
    },
  };
  return log;
}

async function startGpus(count: number, trainRank: (slot: number) => GpuActivities["trainRank"]): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, slot) => place.gpu(slot, count, trainRank(slot))));
}

const untilAborted = async (): Promise<never> => {
  const beat = setInterval(() => Context.current().heartbeat(), 100);
  return Context.current().cancelled.finally(() => clearInterval(beat));
};

/** Starts a GPU worker that trains until it is told to stop; says whether it has begun. */
async function startTireless(): Promise<() => boolean> {
  let begun = false;
  await startGpus(1, () => () => {
    begun = true;
    return untilAborted();
  });
  return () => begun;
}

test("when a rank fails, the next attempt goes on from the last checkpoint", async () => {
  const log = fakeLog();
  await place.pipeline({ beginTraining: log.begin });
  await startGpus(3, (slot) => async ({ attempt }) => {
    if (attempt.generation === 1) {
      log.step = 5;
      throw slot === 2 ? new Error("out of luck") : new PeerLostError("worker 2 is gone");
    }
    return { status: "finished", step: 10, ...(slot === 0 && { notes: ["the metrics command has ended"] }) };
  });
  // a busy machine's workers may take their time to answer
  const result = await (await place.start("retry", quickConfig({ workers: { min: 1, waitSeconds: 60 } }))).result();
  assert.equal(result.trainingAttempts, 2);
  const warnings = result.rows.flatMap(({ stage, warnings: found = [] }) => (stage === "train" ? found : []));
  assert.deepEqual(warnings, ["the metrics command has ended"], "a heartbeat's note is gone by then");
  assert.deepEqual(log.attempts, [
    { workers: 3, resumeStep: 0 },
    { workers: 3, resumeStep: 5 },
  ]);
});

test("a rank that nobody hears of any more ends the attempt; its silent peers are cancelled", async () => {
  const log = fakeLog();
  await place.pipeline({ beginTraining: log.begin });
  await startGpus(2, (slot) => async ({ attempt }) => {
    if (attempt.generation > 1) return { status: "finished", step: 10 };
    if (slot === 0) return untilAborted();
    throw new PeerLostError("gone");
  });
  const result = await (await place.start("silent", quickConfig())).result();
  assert.equal(result.trainingAttempts, 2);
});

test("a worker that does not come back is left out", async () => {
  const log = fakeLog();
  await place.pipeline({ beginTraining: log.begin });
  await startGpus(2, () => async () => ({ status: "finished", step: 10 }));
  const ghost = { queue: gpuQueue(HOST, 7), host: HOST, slot: 7, of: 3, started: 1 };
  await place.client.workflow.getHandle(LEASE_ID).signal(SIGNALS.register, ghost);
  const result = await (await place.start("ghost", quickConfig())).result();
  assert.equal(result.trainingAttempts, 1);
  assert.deepEqual(log.attempts, [{ workers: 2, resumeStep: 0 }]);
  const { workers } = await ask<LeaseState>(place.client.workflow.getHandle(LEASE_ID), QUERIES.lease);
  assert.ok(!workers.some(({ queue }) => queue === ghost.queue));
});

test("an error that repeats without progress ends the run; a user error ends it at once", async () => {
  const log = fakeLog();
  await place.pipeline({ beginTraining: log.begin });
  let error: Error = new Error("the loss is not finite");
  await startGpus(1, () => async () => {
    throw error;
  });
  const failed = async (id: string): Promise<ApplicationFailure> => {
    const thrown: unknown = await (await place.start(id, quickConfig())).result().catch((reason: unknown) => reason);
    assert.ok(thrown instanceof WorkflowFailedError && thrown.cause instanceof ApplicationFailure, String(thrown));
    return thrown.cause;
  };
  assert.equal(
    (await failed("error")).message,
    "train: training was lost 3 times after step 0 without coming to a checkpoint: the loss is not finite",
  );
  assert.equal(log.attempts.length, 3);
  error = new UserError("too little memory", { need: "97 GB" });
  assert.equal((await failed("user")).message, "train: too little memory [need=97 GB]");
  assert.equal(log.attempts.length, 4);
});

test("cancelling a run stops its ranks and frees the workers", async () => {
  const log = fakeLog();
  await place.pipeline({ beginTraining: log.begin });
  let running = 0;
  let saved = 0;
  await startGpus(2, () => async () => {
    running++;
    try {
      return await untilAborted();
    } finally {
      saved++;
    }
  });
  const run = await place.start("stop", quickConfig());
  while (running < 2) await sleep(100);
  await run.cancel();
  await assert.rejects(run.result(), WorkflowFailedError);
  assert.equal((await run.describe()).status.name, "CANCELLED");
  assert.equal(saved, 2);
  const state = await ask<LeaseState>(place.client.workflow.getHandle(LEASE_ID), QUERIES.lease);
  assert.equal(state.holder, null);
});

test("an attempt that ends because more workers are there is no failure, however often, and the next one begins at once", async () => {
  await place.pipeline();
  await startGpus(1, () => async ({ attempt }) => ({ status: attempt.generation <= 21 ? "outgrown" : "finished", step: 0 }));
  // as many that were lost would end the run
  assert.equal((await (await place.start("outgrown", quickConfig())).result()).trainingAttempts, 22);
});

test("two runs train one after the other; a terminated one loses its workers", async () => {
  const log = fakeLog();
  await place.pipeline({ beginTraining: log.begin });
  let running = 0;
  await startGpus(2, () => async ({ attempt }) => {
    if (attempt.generation > 1) return { status: "finished", step: 10 };
    running++;
    return untilAborted();
  });
  const first = await place.start("first", quickConfig());
  while (running < 2) await sleep(100);
  const second = await place.start("second", quickConfig());
  const noteOf = async (): Promise<string> =>
    (await ask<RunProgress>(second, QUERIES.progress)).rows.find(({ stage }) => stage === "train")!.note;
  while ((await noteOf()) !== "waiting for the GPU workers: first has them") await sleep(100);
  await first.terminate("somebody pulled the plug");
  assert.equal((await second.result()).stages.length, 5);
});

test("two runs that start at once on eight workers never have them at once, and both end", async () => {
  await place.pipeline();
  const training = new Set<string>();
  let crossed = false;
  let most = 0;
  await startGpus(8, () => async () => {
    const { workflowId } = Context.current().info.workflowExecution!;
    training.add(workflowId);
    crossed ||= training.size > 1;
    const beat = setInterval(() => Context.current().heartbeat(), 100);
    // all eight of a run are at work together
    most++;
    while (most % 8 !== 0) await sleep(20);
    await sleep(500);
    clearInterval(beat);
    training.delete(workflowId);
    return { status: "finished", step: 4 };
  });
  const runs = await Promise.all(["one", "another"].map((id) => place.start(id, quickConfig({ shards: 8 }))));
  const results = await Promise.all(runs.map((run) => run.result()));
  assert.deepEqual(
    results.map(({ trainingAttempts }) => trainingAttempts),
    [1, 1],
  );
  assert.ok(!crossed);
});

/** Whom the lease says that the workers are lent to. */
async function holder(): Promise<string | null> {
  const { holder: now } = await ask<LeaseState>(place.client.workflow.getHandle(LEASE_ID), QUERIES.lease);
  return now?.workflowId ?? null;
}

test("a holder that is terminated, fails or is reset to before training gives its workers back, asked for or not", async () => {
  let held = false;
  let open!: () => void;
  const gate = new Promise<void>((resolve) => (open = resolve));
  let running = 0;
  await place.pipeline({
    download: async () => {
      const beat = setInterval(() => Context.current().heartbeat(), 100);
      if (held) await gate;
      clearInterval(beat);
      return resultOf("download", ["model", "dataset"]);
    },
  });
  await startGpus(2, () => async () => {
    const { workflowId } = Context.current().info.workflowExecution!;
    if (workflowId === "fails") throw new UserError("too little memory");
    if (workflowId === "next") return { status: "finished", step: 4 };
    running++;
    return untilAborted().finally(() => running--);
  });
  const train = async (id: string): Promise<WorkflowHandle> => {
    const run = await place.start(id, quickConfig());
    while (running < 2 || (await holder()) !== id) await sleep(100);
    return run;
  };
  const givenBack = async (): Promise<void> => {
    while (running > 0 || (await holder()) !== null) await sleep(100);
  };
  await (await train("terminated")).terminate("somebody pulled the plug");
  await givenBack();
  await assert.rejects((await place.start("fails", quickConfig())).result());
  await givenBack();

  await train("reset");
  const next = await place.start("next", quickConfig());
  const waiting = async (): Promise<boolean> =>
    (await ask<LeaseState>(place.client.workflow.getHandle(LEASE_ID), QUERIES.lease)).waiting.length > 0;
  while (!(await waiting())) await sleep(100);
  held = true;
  await place.client.workflowService.resetWorkflowExecution({
    namespace: "default",
    workflowExecution: { workflowId: "reset" },
    workflowTaskFinishEventId: 4 as never,
    requestId: "once-more",
  });
  // while it is at its download again
  await next.result();
  open();
  await place.client.workflow.getHandle("reset").terminate("enough");
});

test("a run that ended while it waited does not keep the workers from who is behind it", async () => {
  await place.pipeline();
  const begun = await startTireless();
  const holds = await place.start("holds", quickConfig());
  while (!begun() || (await holder()) !== "holds") await sleep(100);
  // they wait in the row without asking again
  const paused = (id: string): Promise<WorkflowHandle> =>
    place.client.workflow.signalWithStart(FINETUNE, {
      taskQueue: TASK_QUEUE,
      workflowId: id,
      args: [quickConfig()],
      signal: SIGNALS.pause,
      signalArgs: [],
    });
  const [ended, behind] = [await paused("ended"), await paused("behind")];
  const lease = place.client.workflow.getHandle(LEASE_ID);
  for (const [run, min] of [
    [ended, 2],
    [behind, 1],
  ] as const) {
    const { runId } = await run.describe();
    const own = { workflowId: run.workflowId, firstRunId: runId };
    await lease.signal(SIGNALS.acquire, { holder: own, token: run.workflowId, host: HOST, min, max: 4, enough: 4, waitSeconds: 0 });
  }
  const waiting = async (): Promise<string[]> =>
    (await ask<LeaseState>(lease, QUERIES.lease)).waiting.map(({ holder: { workflowId } }) => workflowId);
  while ((await waiting()).join() !== "ended,behind") await sleep(100);
  await ended.terminate();
  await holds.terminate();
  // it gets them, and, as it does not train, gives them back
  while ((await waiting()).length > 0 || (await holder()) !== null) await sleep(100);
  await behind.terminate();
});

test("news that cross the grant do not say of a run that trains that it waits", async () => {
  await place.pipeline();
  const begun = await startTireless();
  const run = await place.start("crossed", quickConfig());
  while (!begun()) await sleep(100);
  const { events } = await run.fetchHistory();
  const asked = events!.find(
    ({ signalExternalWorkflowExecutionInitiatedEventAttributes: sent }) => sent?.signalName === (SIGNALS.acquire as string),
  )!.signalExternalWorkflowExecutionInitiatedEventAttributes!;
  const { token } = defaultPayloadConverter.fromPayload<LeaseRequest>(asked.input!.payloads![0]!);
  const late: LeaseNews = { token, workers: null, note: "waiting for GPU workers" };
  await run.signal(SIGNALS.leaseNews, late);
  const { rows } = await ask<RunProgress>(run, QUERIES.progress);
  assert.equal(rows.find(({ stage }) => stage === "train")!.note, "attempt 1 on 1 worker: 4 steps");
  await run.terminate();
});

test("a lease that was ended begins anew with the next worker, and waiting runs find it", async () => {
  await place.client.workflow.getHandle(LEASE_ID).terminate("tidied away");
  const log = fakeLog();
  await place.pipeline({ beginTraining: log.begin });
  const run = await place.start("waits", quickConfig());
  await sleep(1500);
  await startGpus(1, () => async () => ({ status: "finished", step: 10 }));
  assert.equal((await run.result()).trainingAttempts, 1);
});
