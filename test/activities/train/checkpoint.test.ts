import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { checkpoints, lastGood, shardFile } from "../../../activities/train/checkpoint.js";
import { openLog, type CommitLog } from "../../../activities/train/log.js";
import { sha256, sha256File } from "../../../infra/files.js";
import { memoryStore } from "../../../infra/store/memory.js";

const fingerprint = { platform: "p", cpu: "c", node: "n", onnxruntime: "o", threadsPerRank: 1 };
const silent = (): void => undefined;

/** A log of two checkpoints, of steps 1 and 2, one shard each, whose files lie in the directory. */
async function twoCheckpoints(t: { after(done: () => Promise<void>): void }): Promise<{ log: CommitLog; directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), "checkpoint-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  await mkdir(join(directory, "shards"));
  const log = await openLog(memoryStore());
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
      parent: null,
      fingerprint,
      shards,
      steps: [],
    });
  }
  return { log, directory };
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
