import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { LOCK, RESULT, Stage, type StageRequest } from "../../../../activities/common/stage.js";
import { trainDefinition } from "../../../../activities/train/definition.js";
import { openLog } from "../../../../activities/train/log/commit-log.js";
import type { CheckpointEntry, LogEntry } from "../../../../activities/train/log/entries.js";
import { beginTraining } from "../../../../activities/train/run/begin.js";
import { ENGINE_VERSIONS } from "../../../../core/config/engines.js";
import type { StageResult } from "../../../../core/stages/results.js";
import { lock } from "../../../../infra/disk/lock.js";
import { fileStore } from "../../../../infra/store/file-store.js";
import { trainLocally } from "../../../../workers/local-training.js";
import { places } from "../../../engines/places.js";
import { job, madeRows, type Job } from "../../../workers/tiny.js";

/** A run that was begun by one engine is finished by another, which here computes the same bits: so the end must be the same. */

const ENGINES = join(import.meta.dirname, "..", "..", "..", "engines");
const RANK = join(ENGINES, "rank-child.js");
const ZOMBIE = join(ENGINES, "zombie-child.js");
const STEPS = 24;
/** Milliseconds of a step while a training is to be met at work, however busy the machine is. */
const SLOW = "100";
const TRAIN = { shards: 4, microBatch: 1, accumulation: 2, epochs: 8, learningRate: 1e-3, checkpointEverySteps: 4 };

type Train = Omit<Partial<StageRequest["config"]["train"]>, "engine"> & { readonly engine?: string };

const make = (t: TestContext): Promise<Job> => job(t, madeRows(21), TRAIN);

function requested({ request }: Job, train: Train): StageRequest {
  return { ...request, config: { ...request.config, train: { ...request.config.train, ...train } as StageRequest["config"]["train"] } };
}

function directoryOf(made: Job, train: Train): string {
  return new Stage(trainDefinition, requested(made, train)).directory;
}

function train(made: Job, settings: Train, signal?: AbortSignal): Promise<StageResult<"train">> {
  return trainLocally(places, requested(made, settings), 2, made.context(signal), RANK);
}

async function logOf(directory: string): Promise<readonly LogEntry[]> {
  return (await openLog(fileStore(directory))).entries;
}

async function savedIn(directory: string): Promise<CheckpointEntry[]> {
  return (await logOf(directory)).flatMap((entry) => (entry.kind === "checkpoint" ? [entry] : []));
}

/** Waits until a directory has so many checkpoints. */
async function untilSaved(directory: string, checkpoints: number): Promise<void> {
  while (!existsSync(join(directory, "commits")) || (await savedIn(directory)).length < checkpoints) await sleep(2);
}

/** Trains until there are so many checkpoints more, and stops it, which saves; resolves to the steps done. */
async function begun(made: Job, settings: Train, checkpoints = 1): Promise<number> {
  const directory = directoryOf(made, settings);
  const before = existsSync(join(directory, "commits")) ? (await savedIn(directory)).length : 0;
  const stop = new AbortController();
  process.env["TOY_STEP_MS"] = SLOW;
  const running = train(made, settings, stop.signal).then(
    () => "finished",
    ({ message }: Error) => message,
  );
  await untilSaved(directory, before + checkpoints);
  stop.abort(new Error("enough with this engine"));
  assert.equal(await running, "enough with this engine");
  delete process.env["TOY_STEP_MS"];
  const { step } = (await savedIn(directory)).at(-1)!;
  assert.ok(step < STEPS, "it was stopped at work");
  return step;
}

/** Trains in a process of its own, which is killed when there are so many commits more. */
async function killed(made: Job, settings: Train, commits: number): Promise<void> {
  const directory = directoryOf(made, settings);
  const count = (): number => (existsSync(join(directory, "commits")) ? readdirSync(join(directory, "commits")).length : 0);
  const before = count();
  const env = { ...process.env, TOY_STEP_MS: SLOW };
  const child = spawn(process.execPath, [ZOMBIE, JSON.stringify(requested(made, settings))], {
    stdio: ["ignore", "ignore", "inherit"],
    env,
  });
  while (count() < before + commits) {
    assert.equal(child.exitCode, null);
    await sleep(2);
  }
  // a few steps beyond what it has saved
  await sleep(3 * Number(SLOW));
  child.kill("SIGKILL");
  await once(child, "exit");
}

let expected: Promise<StageResult<"train">> | undefined;
function undisturbed(t: TestContext): Promise<StageResult<"train">> {
  expected ??= make(t).then((made) => train(made, { engine: "toy" }));
  return expected;
}

async function assertSame(t: TestContext, run: StageResult<"train">): Promise<void> {
  const { metrics, stateDigest } = await undisturbed(t);
  assert.equal(run.stateDigest, stateDigest);
  assert.deepEqual(run.metrics.losses, metrics.losses, "those of the steps before, too");
  assert.equal(run.metrics.losses!.length, STEPS);
}

/** Names and bytes of a directory's files. */
function contents(directory: string): unknown {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => statSync(join(directory, name)).isFile())
    .sort()
    .map((name) => [name, readFileSync(join(directory, name)).toString("base64")]);
}

function lastingNotes({ seen }: Job): string[] {
  return seen.flatMap(({ note, lasting }) => (lasting === true ? [note!] : []));
}

function assertAddsUp({ metrics }: StageResult<"train">): void {
  const { wallSeconds, usefulSeconds, startSeconds, saveSeconds, lostSeconds, stoppedSeconds, interruptions } = metrics.ledger!;
  const sum = usefulSeconds + startSeconds + saveSeconds + lostSeconds + stoppedSeconds;
  assert.ok(Math.abs(sum - wallSeconds) < 1e-3, `${sum} of ${wallSeconds} s`);
  assert.ok(interruptions.every(({ seconds }) => seconds >= 0));
}

test("a run that was begun by one engine is finished by another, and says so", async (t) => {
  const made = await make(t);
  const step = await begun(made, { engine: "toy" });
  const first = directoryOf(made, { engine: "toy" });
  const before = contents(first);
  const run = await train(made, { engine: "toy2" });
  await assertSame(t, run);
  assert.deepEqual(contents(first), before, "nothing there has changed");
  const { metrics } = run;
  assert.equal(metrics.resumedAtStep, step);
  assert.equal(metrics.attempts, 2);
  assert.equal(metrics.oneKindOfMachine, false);
  const by = (engine: string): object => ({ engine, engineVersion: "", precision: "fp32" });
  assert.deepEqual(metrics.computed, [
    { steps: step, by: by("toy") },
    { steps: STEPS - step, by: by("toy2") },
  ]);
  assert.deepEqual(lastingNotes(made), [
    `goes on from step ${step}, which the engine toy in fp32 saved in train/${basename(first)}; the steps after it are computed by the engine toy2 ` +
      "in fp32, so equal bytes with another run are not claimed. Remove that directory if training is to begin anew",
  ]);
  assertAddsUp(run);
  const { interruptions, steps, stepsRepeated, failures, proof } = metrics.ledger!;
  assert.deepEqual([steps, stepsRepeated, failures, proof.repeated], [STEPS, 0, 0, 0]);
  assert.deepEqual(
    interruptions.map(({ failure, what, afterStep }) => [failure, what, afterStep]),
    [[false, "told to stop: training was asked to stop; another engine or version went on", step]],
  );
  const [taken] = await savedIn(directoryOf(made, { engine: "toy2" }));
  assert.equal(taken!.fingerprint["engine"], "toy");
  assert.deepEqual([taken!.step, taken!.steps.length, taken!.parent, taken!.past!.directory], [step, step, null, basename(first)]);
});

test("what is taken over takes no room, and has its digests", async (t) => {
  const made = await make(t);
  const step = await begun(made, { engine: "toy" });
  const [first, second] = [directoryOf(made, { engine: "toy" }), directoryOf(made, { engine: "toy2" })];
  const started = await beginTraining(places, requested(made, { engine: "toy2" }), { workers: 2 }, made.context());
  assert.ok("attempt" in started);
  assert.equal(started.attempt.resumeStep, step);
  const [old, taken] = [(await savedIn(first)).at(-1)!, (await savedIn(second)).at(-1)!];
  for (const [shard, { file, sha256 }] of taken.shards.entries()) {
    assert.equal(sha256, old.shards[shard]!.sha256);
    assert.equal(statSync(join(second, file)).ino, statSync(join(first, old.shards[shard]!.file)).ino);
  }
  assert.equal(readdirSync(join(second, "shards")).length, TRAIN.shards);
});

test("a kill before and after the change of engines costs the steps since the last checkpoint", async (t) => {
  const made = await make(t);
  await killed(made, { engine: "toy" }, 3);
  // the attempt, the checkpoint that is taken over, and one of its own
  await killed(made, { engine: "toy2" }, 3);
  const own = await savedIn(directoryOf(made, { engine: "toy2" }));
  assert.equal(own.filter(({ past }) => past !== undefined).length, 1);
  const run = await train(made, { engine: "toy2" });
  await assertSame(t, run);
  assert.equal(run.metrics.resumedAtStep, own.at(-1)!.step);
  assert.equal(run.metrics.attempts, 3);
  assertAddsUp(run);
  const { interruptions, failures, proof, stepsRepeated } = run.metrics.ledger!;
  assert.equal(failures, 2);
  assert.match(interruptions[0]!.what, /^everything was killed; another engine or version went on$/);
  assert.equal(proof.repeated, stepsRepeated);
  // those of the second kill alone were done twice by one engine
  assert.equal(proof.equal, interruptions[1]!.stepsLost);
  assert.deepEqual(proof.different, []);
  assert.equal(lastingNotes(made).filter((note) => note.startsWith("goes on from step")).length, 0, "it was said when it was taken over");
});

test("where the newest checkpoint is damaged the one before is taken over, and both stay", async (t) => {
  const made = await make(t);
  await begun(made, { engine: "toy" }, 2);
  const first = directoryOf(made, { engine: "toy" });
  const [before, newest] = (await savedIn(first)).slice(-2) as [CheckpointEntry, CheckpointEntry];
  const path = join(first, newest.shards[2]!.file);
  const bytes = readFileSync(path);
  bytes[bytes.length - 3]! ^= 1;
  writeFileSync(path, bytes);
  const names = readdirSync(first, { recursive: true });
  const run = await train(made, { engine: "toy2" });
  await assertSame(t, run);
  assert.equal(run.metrics.resumedAtStep, before.step);
  assert.deepEqual(readdirSync(first, { recursive: true }), names);
  assert.match(lastingNotes(made)[0]!, new RegExp(`^checkpoint of step ${newest.step} in train/.* is not taken over: .* has digest`));
  const { interruptions, stepsRepeated } = run.metrics.ledger!;
  assert.deepEqual([interruptions[0]!.failure, stepsRepeated], [true, newest.step - before.step]);
  assert.match(interruptions[0]!.what, /; a newer checkpoint was damaged; another engine/);
});

test("a training that another engine finished is not taken, nor one that has all its steps", async (t) => {
  const made = await make(t);
  await train(made, { engine: "toy" });
  const first = directoryOf(made, { engine: "toy" });
  for (const engine of ["toy2", "toy3"]) {
    const run = await train(made, { engine });
    await assertSame(t, run);
    assert.deepEqual([run.metrics.resumedAtStep, run.metrics.computed, run.metrics.oneKindOfMachine], [0, undefined, true]);
    for (const each of [first, directoryOf(made, { engine })]) rmSync(join(each, RESULT), { force: true });
  }
});

test("only the same job is taken over: other settings begin anew, how often is saved does not matter", async (t) => {
  const made = await make(t);
  await begun(made, { engine: "toy" });
  const other = await train(made, { engine: "toy2", learningRate: 2e-3 });
  assert.equal(other.metrics.resumedAtStep, 0);
  assert.equal(other.metrics.computed, undefined);
  const same = await train(made, { engine: "toy2", checkpointEverySteps: 3, keepCheckpoints: 1 });
  assert.ok(same.metrics.resumedAtStep! > 0);
  await assertSame(t, same);
});

test("of two unfinished trainings the one that got further is taken over", async (t) => {
  const made = await make(t);
  const few = await begun(made, { engine: "toy" });
  // it takes over the first one's, and saves one of its own
  const more = await begun(made, { engine: "toy2" }, 2);
  assert.ok(more > few);
  const run = await train(made, { engine: "toy3" });
  await assertSame(t, run);
  assert.equal(run.metrics.resumedAtStep, more);
  assert.deepEqual(
    run.metrics.computed!.map(({ steps, by }) => [steps, by["engine"]]),
    [
      [few, "toy"],
      [more - few, "toy2"],
      [STEPS - more, "toy3"],
    ],
  );
  assert.equal(run.metrics.attempts, 3);
  assertAddsUp(run);
});

test("a run goes on with what it has saved itself, however far another engine is", async (t) => {
  const made = await make(t);
  const few = await begun(made, { engine: "toy" });
  await begun(made, { engine: "toy2" }, 2);
  const run = await train(made, { engine: "toy" });
  await assertSame(t, run);
  assert.deepEqual([run.metrics.resumedAtStep, run.metrics.computed, run.metrics.oneKindOfMachine], [few, undefined, true]);
});

test("while no step has been saved here, the other engine may get further and is taken over again", async (t) => {
  const made = await make(t);
  const few = await begun(made, { engine: "toy" });
  const attempt = async (): Promise<number> => {
    const started = await beginTraining(places, requested(made, { engine: "toy2" }), { workers: 2 }, made.context());
    return "attempt" in started ? started.attempt.resumeStep : NaN;
  };
  assert.equal(await attempt(), few);
  assert.equal(await attempt(), few);
  const more = await begun(made, { engine: "toy" });
  assert.ok(more > few);
  assert.equal(await attempt(), more);
  const run = await train(made, { engine: "toy2" });
  await assertSame(t, run);
  assert.deepEqual(
    run.metrics.computed!.map(({ steps }) => steps),
    [more, STEPS - more],
  );
  assertAddsUp(run);
});

test("an engine that is not there takes nothing over", async (t) => {
  const made = await make(t);
  await begun(made, { engine: "toy" });
  const toy2 = { ...places.engines.onnx, check: () => Promise.reject(new Error("it is not set up")) };
  const without = { ...places, engines: { ...places.engines, ...{ toy2 } } };
  await assert.rejects(beginTraining(without, requested(made, { engine: "toy2" }), { workers: 2 }, made.context()), /it is not set up/);
  assert.deepEqual(await logOf(directoryOf(made, { engine: "toy2" })), []);
});

/** Holds the lock of what one engine has begun, as its process does, while another one asks for it; `meanwhile` is what that process does. */
async function whileLocked(made: Job, meanwhile: () => Promise<void>): Promise<StageResult<"train">> {
  await begun(made, { engine: "toy" });
  const unlock = await lock(join(directoryOf(made, { engine: "toy" }), LOCK), new AbortController().signal, () => undefined);
  const second = train(made, { engine: "toy2" });
  const waits = new RegExp(
    `^waiting for process ${process.pid}, which trains the same with the engine toy in fp32 and has saved \\d+ steps$`,
  );
  while (!made.seen.some(({ note }) => waits.test(note ?? ""))) await Promise.race([sleep(2), second]);
  await meanwhile();
  await unlock();
  return second;
}

test("a process that trains with another engine is waited for, and what it saves is taken over", async (t) => {
  const made = await make(t);
  // how the last attempt ended, an attempt, a checkpoint
  const run = await whileLocked(made, () => killed(made, { engine: "toy" }, 3));
  await assertSame(t, run);
  const saved = (await savedIn(directoryOf(made, { engine: "toy" }))).at(-1)!;
  assert.equal(saved.step, run.metrics.resumedAtStep);
  assert.ok(saved.generation > 1, "it is what was saved meanwhile");
});

test("a process that is waited for and does all steps has made another result, so training begins anew", async (t) => {
  const made = await make(t);
  const run = await whileLocked(made, async () => {
    const child = spawn(process.execPath, [ZOMBIE, JSON.stringify(requested(made, { engine: "toy" }))], { stdio: "ignore" });
    await once(child, "exit");
  });
  await assertSame(t, run);
  assert.equal((await savedIn(directoryOf(made, { engine: "toy" }))).at(-1)!.step, STEPS);
  assert.deepEqual([run.metrics.resumedAtStep, run.metrics.computed, run.metrics.oneKindOfMachine], [0, undefined, true]);
});

test("a run that was begun under an earlier version of its engine goes on under the new one", async (t) => {
  const versions: Record<string, string> = ENGINE_VERSIONS;
  t.after(() => delete versions["toy"]);
  const made = await make(t);
  versions["toy"] = "1, torch 2.14.0";
  await begun(made, { engine: "toy" });
  versions["toy"] = "1, torch 2.15.0";
  const run = await train(made, { engine: "toy" });
  assert.ok(run.metrics.resumedAtStep! > 0);
  assert.deepEqual(
    run.metrics.computed!.map(({ by }) => by["engineVersion"]),
    ["1, torch 2.14.0", "1, torch 2.15.0"],
  );
  await assertSame(t, run);
  // the fingerprints of the toy's attempts are equal, and nothing is compared all the same
  assert.deepEqual([run.metrics.ledger!.proof.equal, run.metrics.oneKindOfMachine], [0, false]);
});

test("a change of precision is a change of how steps are computed", async (t) => {
  const made = await make(t);
  const step = await begun(made, { engine: "toy", precision: "bf16" });
  const run = await train(made, { engine: "toy" });
  assert.deepEqual(
    run.metrics.computed!.map(({ steps, by }) => [steps, by["precision"]]),
    [
      [step, "bf16"],
      [STEPS - step, "fp32"],
    ],
  );
});

test("a checkpoint on another file system is copied", async (t) => {
  const made = await make(t);
  const step = await begun(made, { engine: "toy" });
  const first = directoryOf(made, { engine: "toy" });
  const elsewhere = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "roslin-elsewhere-"));
  t.after(() => rmSync(elsewhere, { recursive: true }));
  cpSync(first, elsewhere, { recursive: true });
  rmSync(first, { recursive: true });
  symlinkSync(elsewhere, first);
  const run = await train(made, { engine: "toy2" });
  await assertSame(t, run);
  assert.equal(run.metrics.resumedAtStep, step);
});

for (const [what, isShared] of [
  ["saved to the store that machines share", true],
  ["saved before it shared a store", false],
] as const)
  test(`a machine takes over what was ${what}`, async (t) => {
    const made = await make(t);
    const workers = { ...made.request.config.train.workers, store: `file://${made.request.root}/store` };
    const first = { engine: "toy", ...(isShared && { workers }) };
    const place = isShared ? join(made.request.root, "store", basename(directoryOf(made, first))) : directoryOf(made, first);
    const stop = new AbortController();
    process.env["TOY_STEP_MS"] = SLOW;
    const running = train(made, first, stop.signal).catch(({ message }: Error) => message);
    await untilSaved(place, 1);
    stop.abort(new Error("enough"));
    assert.equal(await running, "enough");
    delete process.env["TOY_STEP_MS"];
    const { step } = (await savedIn(place)).at(-1)!;
    // in the first case another machine, which has the store alone
    const root = isShared ? `${made.request.root}-other` : made.request.root;
    t.after(() => rmSync(root, { recursive: true, force: true }));
    const run = await train({ ...made, request: { ...made.request, root } }, { engine: "toy2", workers });
    await assertSame(t, run);
    assert.deepEqual([run.metrics.resumedAtStep, run.metrics.attempts], [step, 2]);
    assertAddsUp(run);
  });
