import assert from "node:assert/strict";
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { lock } from "../../../infra/disk/lock.js";

const never = new AbortController().signal;

async function place(t: { after(done: () => Promise<void>): void }): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "lock-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return join(directory, "lock");
}

async function holder(path: string): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, "lock-holder.js"), [path]);
  await once(child, "message");
  return child;
}

test("one holder at a time, in the same process too", async (t) => {
  const path = await place(t);
  const order: string[] = [];
  const first = await lock(path, never, () => undefined);
  const second = lock(path, never, (name) => order.push(name)).then((unlock) => {
    order.push("second");
    return unlock;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  order.push("released");
  await first();
  await (
    await second
  )();
  assert.deepEqual(order, [`process ${process.pid}`, "released", "second"]);
  assert.ok(!existsSync(path));
});

test("a killed holder's lock is free at once, whatever its file says", async (t) => {
  const path = await place(t);
  const child = await holder(path);
  const waited: string[] = [];
  const waiting = lock(path, never, (name) => {
    waited.push(name);
    child.kill("SIGKILL");
  });
  await (
    await waiting
  )();
  assert.deepEqual(waited, [`process ${child.pid}`]);
  await writeFile(path, "1");
  await (
    await lock(path, never, () => assert.fail("nobody holds it"))
  )();
});

test("who waits can be stopped", async (t) => {
  const path = await place(t);
  const unlock = await lock(path, never, () => undefined);
  const stop = new AbortController();
  await assert.rejects(
    lock(path, stop.signal, () => stop.abort(new Error("enough"))),
    /enough|aborted/,
  );
  await unlock();
});
