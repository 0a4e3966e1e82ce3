import assert from "node:assert/strict";
import { test } from "node:test";
import { ActivityFailure, ApplicationFailure, CancelledFailure, TimeoutFailure } from "@temporalio/common";
import type { GpuWorker, LeaseRequest } from "../../workflows/contract.js";
import { eligible } from "../../workflows/eligible.js";
import { describeFailure, judge, rootCause, stageFailure, wasAskedToStop } from "../../workflows/failures.js";
import { progressMarkdown } from "../../workflows/progress-table.js";

const worker = (slot: number, of = 8, host = "here"): GpuWorker => ({ queue: `roslin-gpu-${host}-${slot}`, host, slot, of, started: 1 });
const request = (min: number, max: number, enough = max): LeaseRequest => ({
  holder: { workflowId: "run", firstRunId: "1" },
  token: "t",
  host: "here",
  min,
  max,
  enough,
  waitSeconds: 60,
});
const activity = (cause: Error): ActivityFailure =>
  new ActivityFailure("Activity task failed", "trainRank", "train-0-g1", "MAXIMUM_ATTEMPTS_REACHED", "1@here", cause);
const failed = (type: string, message: string): ActivityFailure => activity(ApplicationFailure.create({ type, message }));

test("a request gets the workers of its host, lowest slots first, and waits for as many as were started", () => {
  const workers = [worker(3), worker(0), worker(1, 2, "elsewhere"), worker(2)];
  const { workers: found, all } = eligible(workers, request(1, 8));
  assert.deepEqual(
    found.map(({ slot }) => slot),
    [0, 2, 3],
  );
  assert.equal(all, 8);
  assert.deepEqual(
    eligible(workers, request(1, 2)).workers.map(({ slot }) => slot),
    [0, 2],
  );
  assert.equal(eligible(workers, request(1, 2)).all, 2);
  assert.equal(eligible([], request(3, 8)).all, 3);
  assert.equal(eligible(workers, request(1, 8, 3)).all, 3, "those that were missing before are not waited for again");
});

test("a request for several machines gets those with the most workers first, each one's together", () => {
  const on = (host: string, slots: readonly number[], of = 4): GpuWorker[] =>
    slots.map((slot) => ({ ...worker(slot, of, host), address: host }));
  const wish = (hosts: number, max = 16, enough = max): LeaseRequest => ({ ...request(1, max, enough), hosts });
  const names = (workers: readonly GpuWorker[], asked: LeaseRequest): string =>
    eligible(workers, asked)
      .workers.map(({ host, slot }) => `${host}${slot}`)
      .join(" ");
  const mixed = [...on("b", [1, 0]), ...on("c", [2, 0, 1]), ...on("a", [3, 0])].sort((x, y) => x.slot - y.slot);
  assert.equal(names(mixed, wish(3)), "c0 c1 c2 a0 a3 b0 b1", "the name decides between machines with as many");
  assert.equal(names(mixed, { ...wish(2), host: "b" }), "c0 c1 c2 b0 b1", "the run's own machine goes first among them");
  assert.equal(names(mixed, wish(1)), "c0 c1 c2");
  assert.equal(names(mixed, wish(3, 4)), "c0 c1 c2 a0", "as few machines as will do");
  assert.equal(names([...mixed, worker(0, 4, "old")], wish(9)), names(mixed, wish(9)), "without an address nobody reaches it");
});

test("a request for several machines waits for workers that were started there, and for machines while it can use more", () => {
  const on = (host: string, count: number, of = 4): GpuWorker[] =>
    Array.from({ length: count }, (_, slot) => ({ ...worker(slot, of, host), address: host }));
  const state = (workers: readonly GpuWorker[], hosts: number, max = 16, enough = max): (number | boolean)[] => {
    const found = eligible(workers, { ...request(1, max, enough), hosts });
    return [found.workers.length, found.all, found.hosts, found.allHosts, found.isComplete];
  };
  assert.deepEqual(state([...on("a", 4), ...on("b", 2)], 2), [6, 8, 2, 2, false], "two of b are missing");
  assert.deepEqual(state([...on("a", 4), ...on("b", 4)], 2), [8, 8, 2, 2, true]);
  assert.deepEqual(state([...on("a", 4), ...on("b", 4)], 3), [8, 8, 2, 3, false], "a machine is missing");
  assert.deepEqual(state(on("a", 4), 2, 4), [4, 4, 1, 1, true], "one machine's are all that the run can use");
  assert.deepEqual(state(on("a", 4), 2, 16, 4), [4, 4, 1, 1, true], "those that were missing before are not waited for again");
  assert.deepEqual(state(on("a", 4), 1), [4, 4, 1, 1, true]);
  assert.deepEqual(state([], 2), [0, 1, 0, 2, false]);
});

test("a failure is judged by whether time or another attempt can help", () => {
  assert.equal(judge(failed("UserError", "too little memory")), "fatal");
  assert.equal(judge(failed("Error", "the loss is not finite")), "error");
  assert.equal(judge(failed("FencedError", "a newer attempt has taken over")), "error");
  assert.equal(judge(failed("PeerLostError", "worker 3 is gone")), "lost");
  assert.equal(judge(failed("StoppedError", "asked to stop before the first step")), "lost");
  assert.equal(judge(failed("WorkerDiedError", "worker 3 died: its compute thread ended")), "lost");
  assert.equal(judge(activity(new TimeoutFailure("timed out", undefined, "HEARTBEAT"))), "lost");
  assert.equal(judge(activity(new CancelledFailure("cancelled"))), "lost");
  for (const type of ["WorkerShutdown", "ActivityPause", "ActivityReset"]) assert.equal(judge(failed(type, "asked to stop")), "asked");
});

test("attempts that are used up end a stage when its work failed or killed its worker, not when that was asked to stop", () => {
  assert.ok(wasAskedToStop(failed("WorkerShutdown", "the worker was stopped")));
  assert.ok(!wasAskedToStop(activity(new TimeoutFailure("timed out", undefined, "HEARTBEAT"))));
  assert.ok(!wasAskedToStop(failed("WorkerKilled", "its process is gone")));
  assert.ok(!wasAskedToStop(failed("Error", "out of luck")));
  const cancelled = new ActivityFailure(
    "Activity task failed",
    "publish",
    "publish",
    "CANCEL_REQUESTED",
    "1@here",
    new CancelledFailure("cancelled"),
  );
  assert.ok(!wasAskedToStop(cancelled));
});

test("of a gang's failures that one counts from which the others follow", () => {
  const peer = failed("PeerLostError", "worker 3 is gone");
  const timeout = activity(new TimeoutFailure("timed out", undefined, "HEARTBEAT"));
  const cancelled = activity(new CancelledFailure("cancelled"));
  const error = failed("Error", "out of luck");
  const user = failed("UserError", "too little memory");
  assert.equal(rootCause([cancelled, peer, timeout]), timeout);
  const died = failed("WorkerDiedError", "worker 2 died: its compute process ended");
  assert.equal(rootCause([peer, died]), died);
  assert.equal(rootCause([peer, error, timeout]), error);
  assert.equal(rootCause([error, user]), user);
  const stopped = failed("WorkerShutdown", "the worker was stopped");
  assert.equal(rootCause([peer, stopped]), stopped);
  assert.equal(rootCause([stopped, timeout]), timeout);
});

test("a failed stage's first line says what happened", () => {
  assert.equal(
    stageFailure("train", failed("UserError", "too little memory [need=97 GB]")).message,
    "train: too little memory [need=97 GB]",
  );
  assert.equal(stageFailure("train", failed("UserError", "x")).type, "UserError");
  assert.equal(describeFailure(activity(new TimeoutFailure("timed out", undefined, "HEARTBEAT"))), "a worker was not heard of (HEARTBEAT)");
});

test("the table of progress survives what is in its notes", () => {
  const rows = [
    { stage: "download" as const, state: "done" as const, seconds: 1.25, note: "a|b\nc" },
    { stage: "train" as const, state: "running" as const, seconds: 9, note: "" },
  ];
  assert.equal(
    progressMarkdown({ rows, pause: "paused" }, ["6 million parameters"]),
    "**paused**\n\n| stage | state | time | |\n| --- | --- | --- | --- |\n| download__ | done__ | 1.3_s__ | a\\|b c |\n| train__ | running__ | __ |  |\n\n- 6 million parameters".replaceAll(
      "_",
      "\u00a0",
    ),
  );
  assert.match(
    progressMarkdown({ rows, pause: "" }, [], "http://127.0.0.1:8234/runs/a%20b"),
    /\n\n\[Report\]\(http:\/\/127\.0\.0\.1:8234\/runs\/a%20b\)/,
  );
  const odd = progressMarkdown({ rows, pause: "" }, [], "http://127.0.0.1:8234/runs/nightly(2)");
  assert.ok(odd.includes("[Report](http://127.0.0.1:8234/runs/nightly%282%29), served"), odd);
});
