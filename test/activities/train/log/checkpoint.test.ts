import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { checkpoints, history, lastGood, shardFile } from "../../../../activities/train/log/checkpoint.js";
import { openLog, type CommitLog } from "../../../../activities/train/log/commit-log.js";
import { sha256, sha256File } from "../../../../infra/disk/files.js";
import { memoryStore } from "../../../../infra/store/memory-store.js";
import type { ObjectStore } from "../../../../infra/store/store.js";

const fingerprint = { platform: "p", cpu: "c", node: "n", onnxruntime: "o", threadsPerRank: 1 };
const spent = { graphs: 0, waiting: 0, reduction: 0, optimizer: 0 };
const silent = (): void => undefined;

/** A log of two checkpoints, of steps 1 and 2, one shard each, whose files lie in the directory. */
async function twoCheckpoints(t: {
  after(done: () => Promise<void>): void;
}): Promise<{ store: ObjectStore; log: CommitLog; directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), "checkpoint-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  await mkdir(join(directory, "shards"));
  const store = memoryStore();
  const log = await openLog(store);
  for (const step of [1, 2]) {
    const text = `state after step ${step}`;
    const file = shardFile(1, step, 0);
    await writeFile(join(directory, file), text);
    const shards = [{ shard: 0, file, sha256: sha256(text), bytes: text.length }];
    await log.append({
      kind: "checkpoint",
      generation: 1,
      step,
      updates: step,
      reason: "interval",
      parent: step === 1 ? null : 1,
      fingerprint,
      shards,
      steps: [{ loss: step, norm: 1, seconds: 1, spent, tokens: 1, labels: 1, rows: 1 }],
    });
  }
  return { store, log, directory };
}

test("the newest checkpoint is used whose files have their digests; a damaged one is set aside", async (t) => {
  const { log, directory } = await twoCheckpoints(t);
  assert.equal((await lastGood(log, directory, sha256File, silent))?.entry.step, 2);
  await writeFile(join(directory, shardFile(1, 2, 0)), "state after step X");
  assert.equal((await lastGood(log, directory, sha256File, silent))?.entry.step, 1);
  assert.deepEqual(
    checkpoints(log).map(({ entry }) => entry.step),
    [1],
  );
  assert.ok(existsSync(join(directory, `${shardFile(1, 2, 0)}.bad`)));
  await rm(join(directory, shardFile(1, 1, 0)));
  assert.equal(await lastGood(log, directory, sha256File, silent), null, "a missing file is a lost checkpoint");
});

test("the one before a checkpoint whose commit is torn is used, and said; a lost commit costs its steps' figures, not the state", async (t) => {
  const { store, directory } = await twoCheckpoints(t);
  const said: string[] = [];
  await store.write("commits/000002.json", Buffer.from("{"));
  const good = await lastGood(await openLog(store), directory, sha256File, (note) => void said.push(note));
  assert.equal(good?.entry.step, 1);
  assert.ok(said.includes("commit 2 is set aside: it is torn"));

  const { store: other } = await twoCheckpoints(t);
  await other.write("commits/000001.json", Buffer.from("{"));
  const log = await openLog(other);
  assert.deepEqual(
    history(log, 2).map(({ loss }) => loss),
    [2],
  );
});

test("an interruption while checkpoints are checked sets none aside", async (t) => {
  const { log, directory } = await twoCheckpoints(t);
  const stopped = AbortSignal.abort(new Error("interrupted"));
  await assert.rejects(
    lastGood(log, directory, (path) => sha256File(path, stopped), silent),
    /interrupted|aborted/,
  );
  assert.equal(checkpoints(log).length, 2);
  assert.equal((await lastGood(log, directory, sha256File, silent))?.entry.step, 2);
});
