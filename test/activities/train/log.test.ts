import assert from "node:assert/strict";
import { test } from "node:test";
import { openLog, type NewEntry } from "../../../activities/train/log.js";
import { CorruptError, FencedError } from "../../../core/errors.js";
import { memoryStore } from "../../../infra/store/memory.js";

const attempt: NewEntry = { kind: "attempt", workers: 2, resumeFrom: null, resumeStep: 0 };

test("entries are numbered from one, in the order in which they were added", async () => {
  const store = memoryStore();
  const log = await openLog(store);
  assert.equal(await log.append(attempt), 1);
  assert.equal(await log.append(attempt), 2);
  assert.deepEqual(
    (await store.list("commits/")).map(({ key }) => key),
    ["commits/000001.json", "commits/000002.json"],
  );
  assert.equal((await openLog(store)).entries.length, 2);
});

test("who was overtaken cannot commit any more", async () => {
  const store = memoryStore();
  const old = await openLog(store);
  await old.append(attempt);
  const newer = await openLog(store);
  await newer.append(attempt);
  await assert.rejects(old.append(attempt), FencedError);
  await assert.rejects(old.append(attempt), FencedError, "nor when it tries again");
  assert.equal(await newer.append(attempt), 3);
});

test("an attempt sees nothing newer than itself, so its next commit is refused once another has begun", async () => {
  const store = memoryStore();
  const first = await openLog(store);
  const generation = await first.append(attempt);
  await (await openLog(store)).append(attempt);
  const zombie = await openLog(store, generation);
  assert.equal(zombie.entries.length, 1);
  await assert.rejects(zombie.append(attempt), FencedError);
});

test("a gap in the log is said", async () => {
  const store = memoryStore();
  const log = await openLog(store);
  await log.append(attempt);
  await log.append(attempt);
  await store.delete("commits/000001.json");
  await assert.rejects(openLog(store), CorruptError);
});
