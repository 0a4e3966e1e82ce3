import assert from "node:assert/strict";
import { test } from "node:test";
import { openLog, type NewEntry } from "../../../../activities/train/log/commit-log.js";
import { FencedError } from "../../../../core/errors.js";
import { memoryStore } from "../../../../infra/store/memory-store.js";
import { readAll } from "../../../../infra/store/store.js";

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

test("an entry that is gone, torn or changed keeps its number, and nothing is made of it", async () => {
  const store = memoryStore();
  const log = await openLog(store);
  for (let number = 1; number <= 5; number++) await log.append({ ...attempt, resumeStep: number });
  await store.delete("commits/000002.json");
  const whole = Buffer.from((await readAll(store, "commits/000003.json"))!).toString();
  await store.write("commits/000003.json", Buffer.from(whole.slice(0, 40)));
  await store.write("commits/000004.json", Buffer.from(whole.replace('"resumeStep":3', '"resumeStep":7')));
  const read = await openLog(store);
  assert.deepEqual(
    read.entries.map((entry) => (entry.kind === "lost" ? entry.reason : entry.kind)),
    ["attempt", "it is gone", "it is torn", "it does not have its digest", "attempt"],
  );
  assert.equal(await read.append(attempt), 6);
});

test("an entry whose writing failed, and that arrived all the same, is the writer's own: the next one follows it", async () => {
  const store = memoryStore();
  let fails = true;
  const create = async (key: string, bytes: Uint8Array): Promise<boolean> => {
    const made = await store.create(key, bytes);
    if (fails) throw new Error("S3 answers 503");
    return made;
  };
  const log = await openLog({ ...store, uri: store.uri, create, list: (prefix) => store.list(prefix), read: (key) => store.read(key) });
  await assert.rejects(log.append(attempt), /503/);
  await assert.rejects(log.append(attempt), /503/);
  fails = false;
  assert.equal(await log.append({ ...attempt, workers: 3 }), 2);
  assert.deepEqual(
    (await openLog(store)).entries.map((entry) => entry.kind === "attempt" && entry.workers),
    [2, 3],
  );
  await (await openLog(store)).append(attempt);
  await assert.rejects(log.append(attempt), FencedError);
});
