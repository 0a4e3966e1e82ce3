import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { noteEnd } from "../../../../activities/train/log/attempt-end.js";
import { openLog, type CommitLog } from "../../../../activities/train/log/commit-log.js";
import type { EndEntry } from "../../../../activities/train/log/entries.js";
import { WhereaboutsFile } from "../../../../activities/train/log/whereabouts.js";
import { tellShard } from "../../../../engines/engine.js";
import { memoryStore } from "../../../../infra/store/memory-store.js";

const SHARDS = 8;
const gone = (): null => null;

type Leave = (file: WhereaboutsFile) => void;
type ProcessStart = (pid: number) => string | null;

interface Run {
  readonly log: CommitLog;
  readonly directory: string;
  /** an attempt whose workers leave what is given, by worker */
  attempt(...left: readonly Leave[]): Promise<void>;
  end(seen?: boolean, processStart?: ProcessStart): Promise<EndEntry | null>;
  checkpoint(step: number): Promise<void>;
}

async function run(t: TestContext): Promise<Run> {
  const directory = await mkdtemp(join(tmpdir(), "ends-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const log = await openLog(memoryStore());
  return {
    log,
    directory,
    async attempt(...left) {
      const generation = await log.append({ kind: "attempt", workers: left.length, resumeFrom: null, resumeStep: 0 });
      for (const [worker, leave] of left.entries()) {
        const file = new WhereaboutsFile(directory, generation, { worker, pid: 7, started: "then" });
        leave(file);
        file.close();
      }
    },
    end: (seen = true, processStart = gone) => noteEnd(log, directory, SHARDS, processStart, seen),
    async checkpoint(step) {
      const fingerprint = { platform: "p", cpu: "c", node: "n", onnxruntime: "o", threadsPerRank: 1 };
      const about = { generation: 1, step, updates: step, reason: "interval", parent: null, fingerprint } as const;
      await log.append({ kind: "checkpoint", ...about, shards: [], steps: [] });
    },
  };
}

const dies =
  (step: number | null) =>
  (file: WhereaboutsFile): void =>
    file.at(step);
const hears = (file: WhereaboutsFile): void => {
  file.at(4);
  file.end("told", "worker 1 is gone");
};

test("who died in a step is named with its shards, and the log says it once", async (t) => {
  const { attempt, end, log, directory } = await run(t);
  await attempt(hears, dies(4), hears);
  const entry = await end();
  assert.equal(entry?.what, "worker 1 of 3 died after 4 steps");
  assert.deepEqual(entry.lost, [{ worker: 1, step: 4, shards: [2, 3, 4], shard: null }]);
  assert.ok(!existsSync(join(directory, "whereabouts")));
  assert.equal(await end(), null);
  assert.equal(log.entries.length, 2);
});

test("a rank whose computing died under it is dead, though its process lives: where it was counts", async (t) => {
  const { attempt, end } = await run(t);
  const diesUnder = (file: WhereaboutsFile): void => {
    file.at(4);
    tellShard(file.file, 2);
    file.end("died", "worker 1 of 3 died: its compute process ended (SIGKILL)");
    file.end("failed", "and then everything else");
  };
  await attempt(hears, diesUnder, hears);
  const entry = await end(true, () => "then");
  assert.equal(entry?.what, "worker 1 of 3 died after 4 steps");
  assert.deepEqual(entry.lost, [{ worker: 1, step: 4, shards: [2, 3, 4], shard: 2 }]);
});

test("three deaths in a row at one step are poison, wherever its shard was hosted; a stop for it begins the count anew", async (t) => {
  const { attempt, end } = await run(t);
  await attempt(dies(4), hears, hears, hears);
  assert.equal((await end())?.poison, null);
  await attempt(dies(4), hears);
  await end();
  await attempt(dies(4), hears, hears);
  assert.deepEqual((await end())?.poison, { step: 4, shards: [0, 1], shard: null, times: 3 });
  await attempt(dies(4), hears, hears);
  assert.equal((await end())?.poison, null);
});

test("where every death came with one shard's rows in a graph, it alone is named", async (t) => {
  const { attempt, end } = await run(t);
  const diesIn =
    (shard: number): Leave =>
    (file) => {
      file.at(4);
      tellShard(file.file, shard);
    };
  for (const poison of [null, null, { step: 4, shards: [0, 1, 2, 3], shard: 3, times: 3 }]) {
    await attempt(diesIn(3), hears);
    assert.deepEqual((await end())?.poison, poison);
  }
  for (const shard of [3, 3, 2]) {
    await attempt(diesIn(shard), hears);
    const poison = (await end())?.poison;
    if (shard === 2) assert.deepEqual(poison, { step: 4, shards: [0, 1, 2, 3], shard: null, times: 3 });
  }
});

test("deaths at other steps, at other shards, or with a checkpoint beyond in between are no repetition", async (t) => {
  const { attempt, end, checkpoint } = await run(t);
  const poisons: EndEntry["poison"][] = [];
  const next = async (...left: Leave[]): Promise<void> => {
    await attempt(...left);
    poisons.push((await end())!.poison);
  };
  await next(dies(4), hears);
  await next(dies(4), hears);
  await next(dies(5), hears);
  await next(dies(5), hears);
  await next(hears, dies(5));
  await next(dies(5), hears);
  await next(dies(5), hears);
  await checkpoint(6);
  await next(dies(5), hears);
  await next(dies(5), hears);
  await checkpoint(5);
  assert.deepEqual(
    poisons.filter((poison) => poison !== null),
    [],
  );
  await next(dies(5), hears);
  assert.equal(poisons.at(-1)?.times, 3, "a checkpoint of the steps before it is no way past it");
});

test("no death counts of workers that were asked to stop, still live, had not begun, or died all at once or with their parent", async (t) => {
  const { attempt, end } = await run(t);
  const asked = (file: WhereaboutsFile): void => {
    file.at(4);
    file.end("asked", "the worker was stopped");
    file.end("failed", "and then everything else");
  };
  const cases: [what: string, left: Leave[], seen?: boolean, processStart?: ProcessStart][] = [
    ["told to stop: the worker was stopped", [asked, hears]],
    ["worker 0 of 2 did not answer after 4 steps", [dies(4), hears], true, () => "then"],
    ["worker 0 of 2 died", [dies(null), hears]],
    ["all 2 workers died at once", [dies(4), dies(4)]],
    ["everything was killed", [dies(4), hears], false],
  ];
  for (const [what, left, seen, processStart] of cases) {
    await attempt(...left);
    const entry = await end(seen, processStart);
    assert.equal(entry?.what, what);
    assert.deepEqual(entry.lost, []);
  }
});

test("an attempt whose workers leave no word has no end in the log", async (t) => {
  const { attempt, end, log } = await run(t);
  assert.equal(await end(), null);
  await attempt();
  assert.equal(await end(), null);
  assert.equal(log.entries.length, 1);
});
