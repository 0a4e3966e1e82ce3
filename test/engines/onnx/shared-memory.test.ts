import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { createShared } from "../../../engines/onnx/shared-memory.js";

const BYTES = 65536;

async function place(t: { after(done: () => Promise<void>): void }): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "shared-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

test("threads see each other's writes in what they map, and a thread that ends gives its memory back", async (t) => {
  const path = join(await place(t), "memory");
  await createShared(path, 2 * BYTES);
  const isMapped = (): boolean => existsSync("/proc/self/maps") && readFileSync("/proc/self/maps", "utf8").includes(path);
  for (const expected of [1, 2]) {
    const thread = new Worker(new URL("shared-memory-child.js", import.meta.url), { workerData: { path, bytes: BYTES } });
    const exit = once(thread, "exit");
    await once(thread, "message");
    if (existsSync("/proc/self/maps")) assert.ok(isMapped());
    thread.postMessage("go");
    assert.deepEqual(await once(thread, "message"), [[expected, expected]]);
    await exit;
    assert.ok(!isMapped());
  }
});

test("the file is allocated whole, and only where there is none", async (t) => {
  const path = join(await place(t), "memory");
  await createShared(path, 3 * BYTES + 1);
  const { size, blocks } = await stat(path);
  assert.equal(size, 3 * BYTES + 1);
  assert.ok(blocks * 512 >= size, "a file with holes would kill with SIGBUS when the disk is full");
  await assert.rejects(createShared(path, BYTES), { code: "EEXIST" });
});
