import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Stage, type StageRequest } from "../../activities/common/stage.js";
import { trainDefinition } from "../../activities/train/definition.js";
import { openLog } from "../../activities/train/log/commit-log.js";
import type { EndEntry, LogEntry } from "../../activities/train/log/entries.js";
import { attemptPrefix } from "../../activities/train/run/leftovers.js";
import type { RunConfig } from "../../core/config/schema.js";
import { UserError } from "../../core/errors.js";
import { outputNamed, type StageResult } from "../../core/stages/results.js";
import { planStep } from "../../core/training/step-plan.js";
import { artifactOf } from "../../infra/disk/files.js";
import { fileStore } from "../../infra/store/file-store.js";
import { SafetensorsFile } from "../../infra/weights/model-files.js";
import { trainLocally } from "../../workers/local-training.js";
import { childrenOf } from "../workers/children.js";
import { deadlyVariables, type Deadly } from "../workers/deadly.js";
import { job, madeRows, type Job } from "../workers/tiny.js";
import { places } from "./places.js";

/**
 * What every training engine keeps, over real processes and the code of `roslin stage train`: the same bits on any number of
 * ranks and whatever is killed, the fence, pauses, and a step that kills is named.
 */

const RANK = join(import.meta.dirname, "rank-child.js");
const ZOMBIE = join(import.meta.dirname, "zombie-child.js");

const ROWS = 21;
const SHARDS = 4;
const EPOCH = 3;
const STEPS = 8 * EPOCH;
/** Eight rows a step, so an epoch's last step is a smaller one. */
const TRAIN = { shards: SHARDS, microBatch: 1, accumulation: 2, epochs: 8, learningRate: 1e-3, checkpointEverySteps: 4 };

/** One engine's job in a directory of its own. */
interface Made extends Job {
  /** the stage's */
  readonly directory: string;
  /** Trains it as `roslin stage train` does. */
  train(workers: number, signal?: AbortSignal): Promise<StageResult<"train">>;
  log(): Promise<readonly LogEntry[]>;
}

/** Runs the suite for the engine of a name. */
export function conformance(engine: string): void {
  const make = async (t: TestContext): Promise<Made> => {
    const made = await job(t, madeRows(ROWS), TRAIN);
    const { config } = made.request;
    // the schema knows no engine of the tests
    const request = { ...made.request, config: { ...config, train: { ...config.train, engine } } as unknown as RunConfig };
    const { directory } = new Stage(trainDefinition, request);
    return {
      ...made,
      request,
      directory,
      train: (workers, signal) => trainLocally(places, request, workers, made.context(signal), RANK),
      log: async () => (await openLog(fileStore(directory))).entries,
    };
  };

  let known: Promise<string> | undefined;
  /** The digest of an undisturbed run on one worker. */
  const undisturbed = (t: TestContext): Promise<string> => (known ??= make(t).then(async ({ train }) => (await train(1)).stateDigest!));

  /** Makes jobs until one has been caught at work: a busy machine may let it run through. */
  const caught = async (t: TestContext, disturb: (made: Made) => Promise<boolean>): Promise<void> => {
    for (let tries = 0; tries < 5; tries++) {
      const made = await make(t);
      const met = await disturb(made);
      assertNothingLeft(made);
      if (met) return;
    }
    throw new Error("it was never seen under way");
  };

  describe(`the engine ${engine}`, () => {
    it("ends with the same bytes on 1, 2, 3 and 4 workers, and leaves nothing", async (t) => {
      const digest = await undisturbed(t);
      for (const workers of [2, 3, 4]) {
        const made = await make(t);
        const { stateDigest, metrics } = await made.train(workers);
        assert.equal(stateDigest, digest, `${workers} workers`);
        const losses = metrics.losses!;
        assert.equal(losses.length, STEPS);
        assert.ok(sum(losses.slice(-EPOCH)) < sum(losses.slice(0, EPOCH)), "it learns");
        assert.equal(metrics.fingerprint!["engine"], engine);
        assertNothingLeft(made);
      }
    });

    /** Commits after which a rank is killed, with how many there are; none: they start. */
    const moments = { start: [0, 3], early: [2, 3], late: [4, 2] } as const;
    for (const [what, victim, times] of [
      ["the coordinator", 0, ["start", "early", "late"]],
      ["another rank", 1, ["early", "late"]],
    ] as const)
      it(`comes to the same bytes when ${what} is killed`, async (t) => {
        for (const [commits, workers] of times.map((time) => moments[time]))
          await caught(t, async ({ directory, train }) => {
            const running = train(workers);
            await until(() => (commits === 0 ? ranks().length === workers : commitsIn(directory) >= commits), running);
            kill(victim);
            const { stateDigest, metrics } = await running;
            assert.equal(stateDigest, await undisturbed(t), `killed after ${commits} commits`);
            assert.equal(metrics.losses!.length, STEPS, "those before the resume too");
            return metrics.attempts! > 1;
          });
      });

    it("fences a rank that was stopped, once another attempt has taken over", async (t) => {
      const digest = await undisturbed(t);
      await caught(t, async ({ directory, request, train, log }) => {
        const zombie = spawn(process.execPath, [ZOMBIE, JSON.stringify(request)], { stdio: ["ignore", "pipe", "inherit"] });
        t.after(() => zombie.kill("SIGKILL"));
        const ended = once(zombie, "close");
        let said = "";
        zombie.stdout.on("data", (text: Buffer) => (said += text.toString()));
        await until(() => commitsIn(directory) >= 2, ended);
        zombie.kill("SIGSTOP");
        const result = await train(2);
        assert.equal(result.stateDigest, digest);
        const entries = await log();
        const model = outputNamed(result.outputs, "tuned");
        zombie.kill("SIGCONT");
        await ended;
        assert.deepEqual(await log(), entries, "it commits nothing more");
        assert.equal((await artifactOf("tuned", fileURLToPath(model.uri))).sha256, model.sha256);
        if (said.trim() === "finished") return false;
        assert.equal(said.trim(), "FencedError");
        return true;
      });
    });

    it("saves and ends when it is asked to stop, and goes on from there with fewer ranks", async (t) => {
      await caught(t, async (made) => {
        const stop = new AbortController();
        const running = settled(made.train(3, stop.signal));
        await until(() => commitsIn(made.directory) >= 2, running);
        stop.abort(new Error("enough for today"));
        if ((await running) !== "enough for today") return false;
        const saved = (await made.log()).at(-1);
        assert.ok(saved?.kind === "checkpoint" && saved.reason === "stop");
        const { stateDigest, metrics } = await made.train(1);
        assert.equal(metrics.resumedAtStep, saved.step);
        assert.equal(stateDigest, await undisturbed(t));
        return true;
      });
    });

    it("goes on with the ranks that are left after a loss", async (t) => {
      await caught(t, async (made) => {
        const stop = new AbortController();
        const running = settled(made.train(3, stop.signal));
        await until(() => commitsIn(made.directory) >= 3, running);
        kill(2);
        stop.abort(new Error("one is gone"));
        const how = await running;
        const { stateDigest, metrics } = await made.train(2);
        assert.equal(stateDigest, await undisturbed(t));
        return how === "one is gone" && (metrics.resumedAtStep as number) > 0;
      });
    });

    it("names step, shard and rows of a step that kills its computing three times", async (t) => {
      const made = await make(t);
      const { request } = made;
      const left = deadly(t, made, { step: 9, shard: 3, signal: "SIGKILL", place: "barrier" }, 4);
      const split = { count: ROWS, row: (source: number) => ({ source, ...madeRows(ROWS)[source]! }) };
      const rows = planStep(split, request.config.train, 9)
        .microBatches.flatMap(({ shards }) => shards.find(({ shard }) => shard === 3)?.rows ?? [])
        .map(({ source }) => source)
        .sort((a, b) => a - b);
      await assert.rejects(made.train(SHARDS), (error: Error) => {
        assert.ok(error instanceof UserError, error.message);
        assert.ok(error.message.endsWith(`[step=9, shards=3, rows=${rows.join(" ")}, times=3]`), error.message);
        return true;
      });
      assert.equal(left(), 1, "no fourth one was given to it");
      assert.deepEqual(
        ends(await made.log()).map(({ what }) => what),
        Array.from({ length: 3 }, () => "worker 3 of 4 died after 9 steps"),
      );
      assertNothingLeft(made);
    });

    it("survives computing that ends without a word, which counts as a death", async (t) => {
      const made = await make(t);
      deadly(t, made, { step: 9, shard: 1, signal: "exit", place: "barrier" }, 1);
      assert.equal((await made.train(3)).stateDigest, await undisturbed(t));
      assert.deepEqual(
        ends(await made.log()).map(({ what, lost }) => [what, lost.map(({ step }) => step)]),
        [["worker 1 of 3 died after 9 steps", [9]]],
      );
      assert.ok(made.seen.some(({ note }) => /^worker 1 of 3 died: its compute .* ended .*exit code 7/.test(note ?? "")));
    });

    it("begins again after computing that fails, twice and no more", async (t) => {
      const made = await make(t);
      const left = deadly(t, made, { step: 2, shard: 1, signal: "throw", place: "barrier" }, 4);
      await assert.rejects(made.train(2), /^Error: training was lost 3 times after step 0 .*: the step has failed, as the test wants$/);
      assert.equal(left(), 1);
      assert.ok(ends(await made.log()).every(({ lost }) => lost.length === 0));
      assert.equal((await made.train(2)).stateDigest, await undisturbed(t));
      assert.equal(left(), 0, "the last failure is survived");
    });

    it("refuses a base with a weight that is not finite before the first step, and names it", async (t) => {
      const made = await make(t);
      const broken = await withBrokenWeight(made, "transformer.ln_f.bias", 5);
      await assert.rejects(trainLocally(places, broken, 2, made.context(), RANK), (error: Error) => {
        assert.ok(error instanceof UserError, error.message);
        assert.match(
          error.message,
          /^a weight .* is not a finite number.*model\.safetensors, tensor=transformer\.ln_f\.bias, index=\[5\], got=NaN\]$/,
        );
        return true;
      });
      assert.ok(!made.seen.some(({ done }) => done > 0), "no step was done");
    });

    it("has no loss and no norm for a step without labels, and updates nothing in it", async (t) => {
      const silence = (row: ReturnType<typeof madeRows>[number]): typeof row => ({ ...row, labels: row.labels.map(() => -100) });
      const rows = madeRows(ROWS).map((row, at) => (at % 2 === 0 ? row : silence(row)));
      const silent = await job(t, rows.map(silence), { ...TRAIN, maxSteps: 3 });
      const half = await job(t, rows, { ...TRAIN, shards: 1, accumulation: 1, epochs: 1 });
      const named = (made: Job): StageRequest => ({
        ...made.request,
        config: { ...made.request.config, train: { ...made.request.config.train, engine } } as unknown as RunConfig,
      });
      const nothing = await trainLocally(places, named(silent), 2, silent.context(), RANK);
      assert.deepEqual(nothing.metrics.losses, [null, null, null]);
      assert.deepEqual(nothing.metrics.gradientNorms, [null, null, null]);
      assert.ok(!silent.seen.some(({ loss }) => loss !== undefined), "no progress has a loss");
      const { losses, gradientNorms } = (await trainLocally(places, named(half), 1, half.context(), RANK)).metrics;
      const split = { count: ROWS, row: (source: number) => ({ source, ...rows[source]! }) };
      const without = Array.from({ length: ROWS }, (_, step) => planStep(split, named(half).config.train, step).positions === 0);
      assert.ok(without.includes(true) && without.includes(false));
      assert.deepEqual(
        losses!.map((loss) => loss === null),
        without,
      );
      assert.deepEqual(
        gradientNorms!.map((norm) => norm === null),
        losses!.map((loss) => loss === null),
      );
      assert.ok(losses!.every((loss) => loss === null || loss > 0));
    });

    it("goes on after a checkpoint that found the disk full, and gives up when it stays full", async (t) => {
      const made = await make(t);
      const file = join(made.request.root, "full");
      setVariables(t, { FULL_DISK: file });
      writeFileSync(file, "");
      await assert.rejects(made.train(1), /^Error: training was lost 3 times after step 0 .*: ENOSPC: no space left on device/);
      assert.ok(!(await made.log()).some(({ kind }) => kind === "checkpoint"));
      rmSync(file);
      writeFileSync(`${file}.once`, "");
      assert.equal((await made.train(1)).stateDigest, await undisturbed(t));
      assert.ok(!existsSync(`${file}.once`));
      assert.ok(made.seen.some(({ note }) => note?.includes("ENOSPC") && note.endsWith("starting again from the last checkpoint")));
      assertNothingLeft(made);
    });
  });
}

/** A job's request on a copy of its base model in which an element of a tensor is not a number. */
async function withBrokenWeight({ request }: Job, tensor: string, element: number): Promise<StageRequest> {
  const directory = join(request.root, "broken");
  cpSync(fileURLToPath(outputNamed(request.inputs, "model").uri), directory, { recursive: true });
  const path = join(directory, "model.safetensors");
  const file = new SafetensorsFile(path);
  const { offset } = file.entry(tensor);
  file.close();
  const bytes = readFileSync(path);
  bytes.writeFloatLE(Number.NaN, offset + 4 * element);
  writeFileSync(path, bytes);
  const model = await artifactOf("model", directory);
  return { ...request, inputs: request.inputs.map((input) => (input.name === "model" ? model : input)) };
}

/** How a run ended: "finished", or an error's message. */
function settled(running: Promise<unknown>): Promise<string> {
  return running.then(
    () => "finished",
    (error: Error) => error.message,
  );
}

function sum(values: readonly (number | null)[]): number {
  return values.reduce<number>((total, value) => total + value!, 0);
}

/** Waits until it holds, or `over` has come first: a slow disk makes checkpoints rarer. */
async function until(holds: () => boolean, over: Promise<unknown>): Promise<void> {
  let ended = false;
  const end = (): void => void (ended = true);
  over.then(end, end);
  while (!holds() && !ended) await sleep(2);
}

function commitsIn(directory: string): number {
  const commits = join(directory, "commits");
  return existsSync(commits) ? readdirSync(commits).filter((name) => /^\d+\.json$/.test(name)).length : 0;
}

/** Processes of the ranks, in the order in which they were started. */
function ranks(): number[] {
  return childrenOf(process.pid).sort((a, b) => a - b);
}

function kill(rank: number): void {
  const pid = ranks()[rank];
  if (pid !== undefined) process.kill(pid, "SIGKILL");
}

/** Sets variables of this process, and so of the ranks that it starts, until the test's end. */
function setVariables(t: TestContext, variables: Readonly<Record<string, string>>): void {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  t.after(() => {
    for (const [name, value] of before)
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
  });
}

/** Makes a step deadly `times` times; returns how often it was not yet. */
function deadly(t: TestContext, { request }: Job, what: Omit<Deadly, "file">, times: number): () => number {
  const file = join(request.root, "deadly");
  for (let number = 1; number <= times; number++) writeFileSync(`${file}.${number}`, "");
  setVariables(t, deadlyVariables({ ...what, file }));
  return () => readdirSync(request.root).filter((name) => name.startsWith("deadly.")).length;
}

function ends(log: readonly LogEntry[]): EndEntry[] {
  return log.flatMap((entry) => (entry.kind === "end" ? [entry] : []));
}

/** No process, shared file or socket. */
function assertNothingLeft({ directory }: Made): void {
  const prefix = attemptPrefix(directory);
  for (const place of ["/dev/shm", tmpdir(), directory].filter((each) => existsSync(each)))
    assert.deepEqual(
      readdirSync(place).filter((name) => name.startsWith(prefix)),
      [],
    );
  assert.deepEqual(childrenOf(process.pid), []);
}
