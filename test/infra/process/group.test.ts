import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { socketPlace } from "../../../infra/process/meeting-place.js";
import { joinGroup, type GroupEvents, type GroupOptions } from "../../../infra/process/group.js";

async function place(t: { after(done: () => Promise<void>): void }): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "group-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return join(directory, "g.sock");
}

const silent: GroupEvents = { toCoordinator: () => undefined, toAll: () => undefined, lost: () => undefined };
const never = new AbortController().signal;
const options = (path: string, worker: number, workers: number): GroupOptions => ({
  place: socketPlace(path),
  worker,
  workers,
  timeoutMs: 3000,
  signal: never,
});

test("three workers meet, whichever comes first, and hear each other", async (t) => {
  const path = await place(t);
  const heard: string[] = [];
  const events = (worker: number): GroupEvents => ({
    ...silent,
    toCoordinator: (from, message) => heard.push(`${worker}<${from} ${JSON.stringify(message)}`),
    toAll: (message) => heard.push(`${worker}<0 ${JSON.stringify(message)}`),
  });
  const followers = [1, 2].map((worker) => joinGroup(options(path, worker, 3), events(worker)));
  await sleep(50);
  const coordinator = await joinGroup(options(path, 0, 3), events(0));
  const [one, two] = await Promise.all(followers);
  one!.toCoordinator("a");
  coordinator.toAll("b");
  while (heard.length < 4) await sleep(5);
  assert.deepEqual(heard.sort(), ['0<0 "b"', '0<1 "a"', '1<0 "b"', '2<0 "b"']);
  coordinator.seal();
  assert.ok(!existsSync(path), "nobody can join any more");
  for (const group of [one!, two!, coordinator]) group.close();
});

test("a worker that does not appear is named", async (t) => {
  const path = await place(t);
  const one = joinGroup(options(path, 1, 3), silent);
  await assert.rejects(joinGroup({ ...options(path, 0, 3), timeoutMs: 2000 }, silent), /1 of 3 workers did not appear: 2/);
  (await one).close();
  await assert.rejects(joinGroup({ ...options(path, 1, 3), timeoutMs: 100 }, silent), /worker 0 did not appear/);
});

test("a worker that goes before all have met ends the meeting", async (t) => {
  const path = await place(t);
  const coordinator = assert.rejects(
    joinGroup(options(path, 0, 3), { ...silent, lost: () => assert.fail("there is no group yet") }),
    /worker 1 of 3 is gone/,
  );
  (await joinGroup(options(path, 1, 3), silent)).close();
  await coordinator;
});

test("the death of one of eight processes is heard of by all", async (t) => {
  const path = await place(t);
  const workers = 8;
  const killedAt = { time: 0 };
  const heardAfter: number[] = [];
  const members = Array.from({ length: workers - 1 }, (_, index) =>
    fork(join(import.meta.dirname, "group-member.js"), [path, `${index + 1}`, `${workers}`]),
  );
  t.after(() => members.forEach((member) => member.kill("SIGKILL")));
  let joined = 0;
  for (const member of members)
    member.on("message", (word) => (word === "joined" ? joined++ : heardAfter.push(performance.now() - killedAt.time)));
  const lost: number[] = [];
  // as the coordinator of an attempt does: it tells all that it is over
  const coordinator = await joinGroup(
    { ...options(path, 0, workers), timeoutMs: 20_000 },
    {
      ...silent,
      lost: (worker) => {
        if (lost.push(worker) === 1) coordinator.toAll("over");
      },
    },
  );
  while (joined < members.length) await sleep(1);
  killedAt.time = performance.now();
  members[2]!.kill("SIGKILL");
  while (heardAfter.length < members.length - 1) await sleep(1);
  coordinator.close();
  assert.deepEqual(lost, [3]);
  t.diagnostic(`known to the last of ${workers} after ${Math.max(...heardAfter).toFixed(1)} ms`);
});
