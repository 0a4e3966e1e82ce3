import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openLog } from "../../activities/train/log/commit-log.js";
import { UserError } from "../../core/errors.js";
import { fileStore } from "../../infra/store/file-store.js";
import { deadlyVariables, type Deadly } from "../workers/deadly.js";
import type { Job } from "../workers/tiny.js";
import { directoryOf, firstCheckpoint, make, pythons, ranks, secondsUntil, struck, train } from "./local.js";
import { rankProcesses } from "./processes.js";

/** What only an engine with a process of its own can meet, and what its errors say. */

function deadly(t: TestContext, made: Job, what: Omit<Deadly, "file" | "place">, times = 3): void {
  const file = join(made.request.root, "deadly");
  for (let number = 1; number <= times; number++) writeFileSync(`${file}.${number}`, "");
  const variables = deadlyVariables({ ...what, file, place: "barrier" });
  Object.assign(process.env, { DEADLY: variables["DEADLY"] });
  t.after(() => delete process.env["DEADLY"]);
}

test("a Python process that is killed is known at once, and the run comes to the same bytes", async (t) => {
  const { seen } = await struck(t, () => void process.kill(pythons()[1]!, "SIGKILL"));
  assert.ok(seen.some(({ note }) => note?.startsWith("worker 1 of 2 died: its compute process ended (SIGKILL)")));
});

test("a Python process that is frozen is known within a minute, and the run comes to the same bytes", async (t) => {
  await struck(t, () => void process.kill(pythons()[1]!, "SIGSTOP"));
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
      const seconds = await secondsUntil(() => !rankProcesses().includes(python));
      t.diagnostic(`gone after ${seconds.toFixed(2)} s`);
      assert.ok(seconds < 5);
    }
  });
});

test("Ctrl-C, which reaches every process of the group, lets a run save", async (t) => {
  const made = await make(t);
  const stop = new AbortController();
  const running = train(made, stop.signal);
  await firstCheckpoint(made);
  for (const pid of [...pythons(), ...ranks()]) process.kill(pid, "SIGINT");
  // what a process manager sends to all of a group
  for (const pid of pythons()) process.kill(pid, "SIGTERM");
  stop.abort(new Error("Ctrl-C"));
  await assert.rejects(running, /^Error: Ctrl-C$/);
  const last = (await openLog(fileStore(directoryOf(made)))).entries.at(-1);
  assert.ok(last?.kind === "checkpoint" && last.reason === "stop", JSON.stringify(last));
  assert.deepEqual(rankProcesses(), []);
});

test("a step that is not finite is named with its shards and rows, and updates nothing", async (t) => {
  const made = await make(t, { learningRate: 1e30 });
  await assert.rejects(train(made), (error: Error) => {
    assert.ok(error instanceof UserError, error.message);
    assert.match(error.message, /not finite, twice; nothing was updated.*\[step=1, loss=nan, norm=nan, shards=0 1, rows=[\d ]+\]$/);
    return true;
  });
});

test("an exception in Python is one error with its rank and step, and the run begins again", async (t) => {
  const made = await make(t);
  deadly(t, made, { step: 2, shard: 1, signal: "throw" }, 1);
  const { metrics } = await train(made);
  assert.equal(metrics.attempts, 2);
  const [why] = made.seen.flatMap(({ note }) => (note?.endsWith("starting again from the last checkpoint") ? [note] : []));
  assert.match(why!, /^worker 1 of 2 failed in the step with index 2: RuntimeError: the step has failed, as the test wants; /);
});

test("a lack of memory names the setting to change", async (t) => {
  const made = await make(t);
  deadly(t, made, { step: 2, shard: 1, signal: "memory" });
  await assert.rejects(train(made), (error: Error) => {
    assert.ok(error instanceof UserError, error.message);
    assert.match(error.message, /^worker 1 of 2 ran out of memory in the step with index 2: set train\.microBatch lower/);
    return true;
  });
});

test("a worker that was given a GPU which torch does not see fails at once, and trains on no CPU", async (t) => {
  const gpu = { index: 0, uuid: "GPU-00000000-0000-0000-0000-000000000000", name: "none", memory: 1, used: 0, driver: "1" };
  const made = await make(t);
  const gpus = [gpu, gpu] as unknown as Parameters<typeof train>[2];
  await assert.rejects(train(made, undefined, gpus), (error: Error) => {
    assert.ok(error instanceof UserError, error.message);
    assert.match(error.message, /given the GPU GPU-0{8}.*torch sees none.*roslin doctor/);
    return true;
  });
});
