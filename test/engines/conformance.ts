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
import { hostedShards } from "../../core/training/slices.js";
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

/** What an engine promises, and how much it is tried: where a rank takes seconds to start, there are fewer starts. */
export interface Trial {
  /** on other numbers of ranks than the same, losses differ by rounding */
  readonly sameBits: "on any number of ranks" | "on the same number of ranks";
  /** numbers of ranks that are compared with the first of them */
  readonly numbers: readonly number[];
  /** when ranks are killed: after so many commits, of so many ranks; none: they start */
  readonly kills: { readonly coordinator: readonly Kill[]; readonly another: readonly Kill[] };
  /** how many ranks each other test begins with, at most */
  readonly ranks: number;
  /** leaves to another call what takes many starts of ranks and differs the least between engines */
  readonly brief?: boolean;
}
type Kill = readonly [commits: number, ranks: number];

const THOROUGH: Trial = {
  sameBits: "on any number of ranks",
  numbers: [1, 2, 3, 4],
  kills: {
    coordinator: [
      [0, 3],
      [2, 3],
      [4, 2],
    ],
    another: [
      [2, 3],
      [4, 2],
    ],
  },
  ranks: SHARDS,
};

/** How far losses may lie apart where the bits may differ. */
const ROUNDING = 1e-6;

/** Runs the suite for the engine of a name, with other settings of training where they are given. */
export function conformance(engine: string, trial: Trial = THOROUGH, settings: object = {}): void {
  const at = (ranks: number): number => Math.min(ranks, trial.ranks);
  const make = async (t: TestContext): Promise<Made> => {
    const made = await job(t, madeRows(ROWS), { ...TRAIN, ...settings });
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

  const known = new Map<number, Promise<StageResult<"train">>>();
  /** An undisturbed run on so many workers; on one where the number makes no difference. */
  const undisturbed = (t: TestContext, workers: number): Promise<StageResult<"train">> => {
    const number = trial.sameBits === "on any number of ranks" ? 1 : workers;
    const run = known.get(number) ?? make(t).then(({ train }) => train(number));
    known.set(number, run);
    return run;
  };
  /** Compares a run, whose attempts had these numbers of workers, with an undisturbed one. */
  const assertSame = async (t: TestContext, run: StageResult<"train">, numbers: readonly number[], what?: string): Promise<void> => {
    const expected = await undisturbed(t, numbers[0]!);
    const { losses } = run.metrics;
    assert.equal(losses!.length, STEPS, "those before a resume too");
    if (trial.sameBits === "on any number of ranks" || numbers.every((number) => number === numbers[0]))
      assert.equal(run.stateDigest, expected.stateDigest, what);
    for (const [step, loss] of expected.metrics.losses!.entries()) {
      const got = losses![step]!;
      const same = loss === null || got === null ? loss === got : Math.abs(loss - got) <= ROUNDING;
      assert.ok(same, `${what ?? ""} step ${step}: ${got} instead of ${loss}`);
    }
  };

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
    it(`ends with the same bytes on ${trial.numbers.join(", ")} workers, or within rounding, and leaves nothing`, async (t) => {
      const [first, ...others] = trial.numbers;
      for (const workers of others) {
        const made = await make(t);
        const run = await made.train(workers);
        await assertSame(t, run, [first!, workers], `${workers} workers`);
        const losses = run.metrics.losses!;
        assert.ok(sum(losses.slice(-EPOCH)) < sum(losses.slice(0, EPOCH)), "it learns");
        assert.equal(run.metrics.fingerprint!["engine"], engine);
        assertNothingLeft(made);
      }
    });

    for (const [what, victim, kills] of [
      ["the coordinator", 0, trial.kills.coordinator],
      ["another rank", 1, trial.kills.another],
    ] as const)
      it(`comes to the same bytes when ${what} is killed`, async (t) => {
        for (const [commits, workers] of kills)
          await caught(t, async ({ directory, train }) => {
            const running = train(workers);
            await until(() => (commits === 0 ? ranks().length === workers : commitsIn(directory) >= commits), running);
            kill(victim);
            const run = await running;
            await assertSame(t, run, [workers], `killed after ${commits} commits`);
            return run.metrics.attempts! > 1;
          });
      });

    it("fences a rank that was stopped, once another attempt has taken over", async (t) => {
      const workers = at(2);
      await caught(t, async ({ directory, request, train, log }) => {
        const zombie = spawn(process.execPath, [ZOMBIE, JSON.stringify(request)], { stdio: ["ignore", "pipe", "inherit"] });
        t.after(() => zombie.kill("SIGKILL"));
        const ended = once(zombie, "close");
        let said = "";
        zombie.stdout.on("data", (text: Buffer) => (said += text.toString()));
        await until(() => commitsIn(directory) >= 2, ended);
        zombie.kill("SIGSTOP");
        const result = await train(workers);
        await assertSame(t, result, [workers, 1]);
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
      const workers = at(3);
      await caught(t, async (made) => {
        const stop = new AbortController();
        const running = settled(made.train(workers, stop.signal));
        await until(() => commitsIn(made.directory) >= 2, running);
        stop.abort(new Error("enough for today"));
        if ((await running) !== "enough for today") return false;
        const saved = (await made.log()).at(-1);
        assert.ok(saved?.kind === "checkpoint" && saved.reason === "stop");
        const run = await made.train(1);
        assert.equal(run.metrics.resumedAtStep, saved.step);
        await assertSame(t, run, [workers, 1]);
        return true;
      });
    });

    it("names step, shard and rows of a step that kills its computing three times", async (t) => {
      const made = await make(t);
      const { request } = made;
      const left = deadly(t, made, { step: 9, shard: 3, signal: "SIGKILL", place: "barrier" }, 4);
      const workers = trial.ranks;
      const victim = workers - 1;
      const hosted = hostedShards(SHARDS, workers, victim);
      const split = { count: ROWS, row: (source: number) => ({ source, ...madeRows(ROWS)[source]! }) };
      const rows = planStep(split, request.config.train, 9)
        .microBatches.flatMap(({ shards }) => shards.filter(({ shard }) => hosted.includes(shard)).flatMap((part) => part.rows))
        .map(({ source }) => source)
        .sort((a, b) => a - b);
      await assert.rejects(made.train(workers), (error: Error) => {
        assert.ok(error instanceof UserError, error.message);
        assert.ok(error.message.endsWith(`[step=9, shards=${hosted.join(" ")}, rows=${rows.join(" ")}, times=3]`), error.message);
        return true;
      });
      assert.equal(left(), 1, "no fourth one was given to it");
      assert.deepEqual(
        ends(await made.log()).map(({ what }) => what),
        Array.from({ length: 3 }, () => `worker ${victim} of ${workers} died after 9 steps`),
      );
      assertNothingLeft(made);
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
      await assertSame(t, await made.train(1), [1]);
      assert.ok(!existsSync(`${file}.once`));
      assert.ok(made.seen.some(({ note }) => note?.includes("ENOSPC") && note.endsWith("starting again from the last checkpoint")));
      assertNothingLeft(made);
    });

    if (trial.brief === true) return;

    it("goes on with the ranks that are left after a loss", async (t) => {
      const workers = at(3);
      await caught(t, async (made) => {
        const stop = new AbortController();
        const running = settled(made.train(workers, stop.signal));
        await until(() => commitsIn(made.directory) >= 3, running);
        kill(workers - 1);
        stop.abort(new Error("one is gone"));
        const how = await running;
        const run = await made.train(workers - 1);
        await assertSame(t, run, [workers, workers - 1]);
        return how === "one is gone" && (run.metrics.resumedAtStep as number) > 0;
      });
    });

    it("survives computing that ends without a word, which counts as a death", async (t) => {
      const made = await make(t);
      const workers = at(3);
      const shard = hostedShards(SHARDS, workers, 1)[0]!;
      deadly(t, made, { step: 9, shard, signal: "exit", place: "barrier" }, 1);
      await assertSame(t, await made.train(workers), [workers]);
      assert.deepEqual(
        ends(await made.log()).map(({ what, lost }) => [what, lost.map(({ step }) => step)]),
        [[`worker 1 of ${workers} died after 9 steps`, [9]]],
      );
      assert.ok(made.seen.some(({ note }) => /^worker 1 of \d died: its compute .* ended .*exit code 7/.test(note ?? "")));
    });

    it("begins again after computing that fails, twice and no more", async (t) => {
      const made = await make(t);
      const left = deadly(t, made, { step: 2, shard: 1, signal: "throw", place: "barrier" }, 4);
      await assert.rejects(made.train(2), /^Error: training was lost 3 times after step 0 .*: the step has failed, as the test wants$/);
      assert.equal(left(), 1);
      assert.ok(ends(await made.log()).every(({ lost }) => lost.length === 0));
      await assertSame(t, await made.train(2), [2]);
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
