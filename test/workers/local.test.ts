import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cp, mkdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Stage } from "../../activities/common/stage.js";
import { checkpoints } from "../../activities/train/log/checkpoint.js";
import { attemptPrefix } from "../../activities/train/run/leftovers.js";
import { beginTraining } from "../../activities/train/run/begin.js";
import { finishTraining } from "../../activities/train/run/finish.js";
import { openLog } from "../../activities/train/log/commit-log.js";
import { NON_RETRYABLE, NoRoomError, UserError } from "../../core/errors.js";
import { outputNamed } from "../../core/stages/results.js";
import { artifactOf } from "../../infra/disk/files.js";
import { fileStore } from "../../infra/store/file-store.js";
import type { Ledger } from "../../core/stages/ledger.js";
import { trainLocally } from "../../workers/local-training.js";
import { onnxEngine } from "../../engines/onnx/onnx-engine.js";
import { trainDeps } from "../../workers/train-deps.js";
import { childrenOf } from "./children.js";
import { job, madeRows, type Job } from "./tiny.js";
import { type RankDeps, runRank } from "../../activities/train/rank/rank.js";
import type { Machine } from "../../engines/engine.js";
import { trainDefinition } from "../../activities/train/definition.js";
import type { TrainDeps } from "../../activities/train/deps.js";

/** Training's places with another machine. */
function on(machine: Partial<Machine>): TrainDeps {
  return { ...trainDeps, machine: { ...trainDeps.machine, ...machine } };
}

/** No process, shared memory or socket. */
function assertNothingLeft({ request }: Job): void {
  const prefix = attemptPrefix(new Stage(trainDefinition, request).directory);
  for (const place of ["/dev/shm", tmpdir()].filter((each) => existsSync(each)))
    assert.deepEqual(
      readdirSync(place).filter((name) => name.startsWith(prefix)),
      [],
    );
  assert.deepEqual(childrenOf(process.pid), []);
}

/** 21 rows in steps of 16: an uneven last one, accumulation, rows of different lengths. */
const UNEVEN = {
  shards: 8,
  microBatch: 1,
  accumulation: 2,
  epochs: 10,
  learningRate: 1e-3,
  checkpointEverySteps: 3,
  schedule: "cosine",
  warmupSteps: 2,
};

let known: string | undefined;

/** The digest of that job's undisturbed run on one worker. */
async function undisturbed(t: Parameters<typeof job>[0]): Promise<string> {
  const { request, context } = await job(t, madeRows(21), UNEVEN);
  return (known ??= (await trainLocally(trainDeps, request, 1, context())).stateDigest!);
}

test("1, 2, 3, 5 and 8 workers end with the same bytes, and so does a run of 5 that is killed, with a model that 8 doesn't divide", async (t) => {
  const rows = madeRows(21, 61);
  const start = async (workers: number, deps: TrainDeps = trainDeps): Promise<string> => {
    const { request, context } = await job(t, rows, UNEVEN, "gptj-odd");
    const { stateDigest, metrics } = await trainLocally(deps, request, workers, context());
    assert.equal((metrics["losses"] as number[]).length, 20);
    return stateDigest!;
  };
  const digest = await start(1);
  for (const workers of [2, 3, 5, 8]) assert.equal(await start(workers), digest, `${workers} workers`);
  const shmTooSmall = on({ sharedDirectory: (_bytes, otherwise) => otherwise });
  assert.equal(await start(3, shmTooSmall), digest, "also with the weights in a mapped file on disk");
  // a busy machine may look away until all is done: then once more
  for (let resumedAt = 0, tries = 0; resumedAt === 0; tries++) {
    assert.ok(tries < 5, "never seen under way");
    const made = await job(t, rows, UNEVEN, "gptj-odd");
    const { request, context, seen } = made;
    const commits = join(new Stage(trainDefinition, request).directory, "commits");
    const running = trainLocally(trainDeps, request, 5, context());
    while (!existsSync(join(commits, "000003.json"))) await sleep(2);
    const victim = childrenOf(process.pid)[1];
    if (victim !== undefined) process.kill(victim, "SIGKILL");
    const { stateDigest, metrics } = await running;
    assert.equal(stateDigest, digest);
    assert.equal((metrics["losses"] as number[]).length, 20, "those before the resume too");
    assertNothingLeft(made);
    resumedAt = metrics["resumedAtStep"] as number;
    if (resumedAt > 0) assertLedger(metrics["ledger"] as Ledger);
    assert.equal(
      seen.some(({ note }) => note?.includes("starting again from the last checkpoint")),
      resumedAt > 0,
    );
  }
});

/** One worker was killed; whatever was done twice came out the same. */
function assertLedger(ledger: Ledger): void {
  const { wallSeconds, usefulSeconds, startSeconds, saveSeconds, lostSeconds, stoppedSeconds, interruptions, proof } = ledger;
  const parts = [usefulSeconds, startSeconds, saveSeconds, lostSeconds, stoppedSeconds];
  assert.ok(Math.abs(parts.reduce((sum, part) => sum + part, 0) - wallSeconds) < 1e-3);
  assert.ok(parts.every((part) => part >= 0) && lostSeconds > 0 && usefulSeconds > 0);
  assert.match(interruptions.map(({ what }) => what).join(), /^worker \d of 5 died( after \d+ steps)?$/);
  assert.equal(proof.repeated, ledger.stepsRepeated);
  assert.equal(proof.equal, proof.repeated);
}

test("a worker that dies before it has met the others costs them seconds", async (t) => {
  const { request, context, seen } = await job(t, madeRows(21), UNEVEN);
  const running = trainLocally(trainDeps, request, 3, context());
  while (childrenOf(process.pid).length < 3) await sleep(1);
  process.kill(childrenOf(process.pid)[2]!, "SIGKILL");
  assert.equal((await running).stateDigest, await undisturbed(t));
  assert.ok(seen.some(({ note }) => note?.includes("died (SIGKILL)")));
});

test("a stop saves, and the next call goes on from there with another number of workers", async (t) => {
  const digest = await undisturbed(t);
  const made = await job(t, madeRows(21), { ...UNEVEN, checkpointEverySteps: 1000 });
  const { request, context } = made;
  const stop = new AbortController();
  const commits = join(new Stage(trainDefinition, request).directory, "commits");
  const running = trainLocally(trainDeps, request, 2, context(stop.signal));
  while (!existsSync(join(commits, "000001.json"))) await sleep(2);
  stop.abort(new Error("enough for today"));
  await assert.rejects(running, /enough for today/);
  const entries = readdirSync(commits).length;
  // as if it had been killed while it wrote its model
  const model = join(new Stage(trainDefinition, request).directory, "model");
  await mkdir(model);
  await writeFile(join(model, "model.safetensors.1234.tmp"), "half");
  assert.equal((await trainLocally(trainDeps, request, 5, context())).stateDigest, digest);
  assert.ok(readdirSync(commits).length > entries);
  assert.deepEqual(readdirSync(model).sort(), ["config.json", "generation_config.json", "model.safetensors"]);
  assertNothingLeft(made);
});

test("a stop while the workers load ends the attempt at once, with nothing saved", async (t) => {
  const made = await job(t, madeRows(21), UNEVEN);
  const { request, context } = made;
  const directory = new Stage(trainDefinition, request).directory;
  const begun = await beginTraining(trainDeps, request, { workers: 1 }, context());
  assert.ok("attempt" in begun);
  const stop = new AbortController();
  const start: typeof onnxEngine.start = (rank, hear) => {
    stop.abort(new Error("enough for today"));
    return onnxEngine.start(rank, hear);
  };
  const deps: RankDeps = { ...trainDeps, engines: { ...trainDeps.engines, onnx: { ...onnxEngine, start } } };
  await assert.rejects(runRank(deps, { attempt: begun.attempt, worker: 0 }, context(stop.signal)), /asked to stop before the first step/);
  assert.deepEqual(
    (await openLog(fileStore(directory))).entries.map(({ kind }) => kind),
    ["attempt"],
  );
  assertNothingLeft(made);
});

/** A job that was stopped with some checkpoints and steps left. */
async function stopped(t: Parameters<typeof job>[0]): Promise<Job & { directory: string }> {
  for (;;) {
    const made = await job(t, madeRows(21), { ...UNEVEN, keepCheckpoints: 2 });
    const stop = new AbortController();
    const directory = new Stage(trainDefinition, made.request).directory;
    const running = trainLocally(trainDeps, made.request, 2, made.context(stop.signal)).then(
      () => "finished",
      (error: Error) => error.message,
    );
    while (!existsSync(join(directory, "commits", "000003.json"))) await sleep(2);
    stop.abort(new Error("stopped by the test"));
    // a machine that let this process wait may have been through before it heard
    if ((await running) === "stopped by the test") return { ...made, directory };
  }
}

/** The newest checkpoint's last shard. */
function newestShard(directory: string): string {
  return join(directory, "shards", readdirSync(join(directory, "shards")).sort().at(-1)!);
}

function flipBitNow(file: string): void {
  const bytes = readFileSync(file);
  bytes[bytes.length - 5]! ^= 1;
  writeFileSync(file, bytes);
}

const flipBit = async (file: string): Promise<void> => flipBitNow(file);

for (const [what, damage] of [
  ["corrupt", flipBit],
  ["torn", async (file: string) => truncate(file, (await stat(file)).size >> 1)],
  ["missing", (file: string) => rm(file)],
] as const)
  test(`a newest checkpoint with a ${what} shard is set aside and said, and the one before it is used`, async (t) => {
    const digest = await undisturbed(t);
    const { request, context, seen, directory } = await stopped(t);
    const before = await openLog(fileStore(directory));
    const [older, newest] = checkpoints(before).slice(-2);
    await damage(newestShard(directory));
    assert.equal((await trainLocally(trainDeps, request, 2, context())).stateDigest, digest);
    const said = seen.filter(({ note }) => note?.includes(`checkpoint of step ${newest!.entry.step} is set aside`));
    assert.ok(said.length > 0 && said.every(({ lasting }) => lasting));
    const after = (await openLog(fileStore(directory))).entries.slice(before.entries.length).filter(({ kind }) => kind !== "end");
    assert.deepEqual(
      after.slice(0, 2).map((entry) => (entry.kind === "set-aside" ? entry.commit : entry.kind === "attempt" && entry.resumeStep)),
      [newest!.commit, older!.entry.step],
    );
  });

test("base weights that change between their check and their reading are trained on for no checkpoint", async (t) => {
  const { request: usual, context } = await job(t, madeRows(21), { ...UNEVEN, checkpointEverySteps: 1 });
  const copy = join(usual.root, "base");
  await cp(fileURLToPath(outputNamed(usual.inputs, "model").uri), copy, { recursive: true });
  const request = { ...usual, inputs: [await artifactOf("model", copy), outputNamed(usual.inputs, "tokens")] };
  let flipped = false;
  const deps = on({
    sharedDirectory(bytes, otherwise) {
      if (!flipped) flipBitNow(join(copy, "model.safetensors"));
      flipped = true;
      return trainDeps.machine.sharedDirectory(bytes, otherwise);
    },
  });
  await assert.rejects(trainLocally(deps, request, 2, context()), /the model changed after the stage that made it/);
  const { entries } = await openLog(fileStore(new Stage(trainDefinition, request).directory));
  assert.ok(entries.some(({ kind }) => kind === "attempt") && !entries.some(({ kind }) => kind === "checkpoint"));
});

test("a last checkpoint that is corrupt before the model is made from it never gives a model of fewer steps", async (t) => {
  const made = await job(t, madeRows(21), UNEVEN);
  const { request, context } = made;
  const { stateDigest } = await trainLocally(trainDeps, request, 1, context());
  const directory = new Stage(trainDefinition, request).directory;
  await flipBit(newestShard(directory));
  await rm(join(directory, "stage.json"));
  assert.equal(await finishTraining(trainDeps, request, context()), null);
  assert.equal((await trainLocally(trainDeps, request, 1, context())).stateDigest, stateDigest);
});

test("where /dev/shm is too small the weights lie in a file, and it is said", async (t) => {
  const { request, context, seen } = await job(t, madeRows(21), UNEVEN);
  const deps = on({ sharedDirectory: (bytes, otherwise) => (bytes === 0 ? tmpdir() : otherwise) });
  await trainLocally(deps, request, 1, context());
  assert.ok(seen.some(({ note, lasting }) => lasting === true && /too little room.*they lie in a file/.test(note ?? "")));
});

test("with every checkpoint gone training starts over rather than failing", async (t) => {
  const digest = await undisturbed(t);
  const { request, context, directory } = await stopped(t);
  await rm(join(directory, "shards"), { recursive: true });
  const result = await trainLocally(trainDeps, request, 1, context());
  assert.equal(result.stateDigest, digest);
  assert.equal(result.metrics["resumedAtStep"], 0);
});

test("a step that isn't finite is named with its shard and rows, and updates nothing", async (t) => {
  const made = await job(t, madeRows(21), { ...UNEVEN, learningRate: 1e30, maxGradNorm: 1e30, schedule: "constant", warmupSteps: 0 });
  await assert.rejects(
    trainLocally(trainDeps, made.request, 2, made.context()),
    (error: Error) => error instanceof UserError && /not finite.*\[step=\d+, .*shards=[\d ]+, rows=[\d ]+\]/.test(error.message),
  );
  assertNothingLeft(made);
});

test("too little memory or disk is said before the start, need against have", async (t) => {
  const { request, context } = await job(t, madeRows(5), { shards: 2 });
  await assert.rejects(
    trainLocally(on({ availableMemory: () => 1000 }), request, 1, context()),
    /more memory than this machine has free \[need=.* [kMG]B, have=.* [kMG]B/,
  );
  await assert.rejects(trainLocally(on({ freeDisk: () => 1000 }), request, 1, context()), /more disk than is free/);
});

test("too little memory for a training that had begun may be a stopped worker's doing: the error is one that is tried again", async (t) => {
  const { request, context } = await stopped(t);
  await assert.rejects(
    trainLocally(on({ availableMemory: () => 1000 }), request, 1, context()),
    (error: Error) => error instanceof NoRoomError && !NON_RETRYABLE.includes(error.name) && /more memory than/.test(error.message),
  );
});
