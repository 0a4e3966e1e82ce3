import assert from "node:assert/strict";
import { after, before, test, type TestContext } from "node:test";
import { WorkflowFailedError } from "@temporalio/client";
import { SIGNALS, type FinetuneResult } from "../../workflows/contract.js";
import { leftInHome } from "../chaos/leftovers.js";
import { digestOf, progressOf, rowOf, trained, until, type Run } from "../workers/machine.js";
import { startDeepSpeed, type DeepSpeedMachine } from "./machine.js";
import { rankProcesses } from "./processes.js";

/** The whole pipeline with DeepSpeed, on a real server and real worker processes that are killed, frozen, paused and stopped. */

let machine: DeepSpeedMachine;
before(async () => {
  machine = await startDeepSpeed();
});
after(async () => {
  await machine?.stop();
  assert.deepEqual(rankProcesses(), []);
});

const long = { timeout: 1_200_000 };

interface Calm {
  readonly digest: string;
  readonly losses: readonly number[];
}

let first: Promise<Calm> | undefined;
/** What a run comes to that nobody disturbs, on both workers. */
const undisturbed = (): Promise<Calm> => (first ??= calm());

async function calm(): Promise<Calm> {
  const result = await (await machine.start("calm", machine.configOf())).result();
  await assertNothingLeft();
  return { digest: digestOf(result), losses: machine.losses() };
}

const lives = (pid: number): boolean => rankProcesses().includes(pid);

/** Seconds until it holds. */
async function secondsUntil(holds: () => boolean | Promise<boolean>): Promise<number> {
  const from = performance.now();
  await until(holds);
  return (performance.now() - from) / 1000;
}

/** The same bits and losses as a run that nobody disturbed, and nothing that is left of it. */
async function assertUndisturbed(result: FinetuneResult): Promise<void> {
  const { digest, losses } = await undisturbed();
  assert.deepEqual(machine.losses(), losses);
  assert.equal(digestOf(result), digest);
  await assertNothingLeft();
}

async function assertNothingLeft(): Promise<void> {
  assert.deepEqual(rankProcesses(), []);
  assert.deepEqual(await leftInHome(machine.home), []);
}

const activity = (verb: "pause" | "unpause", id: string, activityId: string): Promise<string> =>
  machine.temporal("activity", verb, "--workflow-id", id, "--activity-id", activityId);
const signal = (id: string, name: string): Promise<string> => machine.temporal("workflow", "signal", "--workflow-id", id, "--name", name);

async function pendingActivity(run: Run, pattern: RegExp): Promise<string> {
  let id: string | undefined;
  await until(async () => {
    const pending = (await run.describe()).raw.pendingActivities ?? [];
    id = pending.map(({ activityId }) => activityId!).find((each) => pattern.test(each));
    return id !== undefined;
  });
  return id!;
}

test(
  "a run whose processes are killed, stopped and paused one after the other ends with the bits of an undisturbed one",
  long,
  async (t) => {
    await undisturbed();
    const run = await machine.start("struck", machine.configOf());
    let seen = await machine.trainedBeyond(0);

    await t.test("SIGKILL of a Python process", async () => {
      process.kill(machine.pythonOf("gpu-1"), "SIGKILL");
      seen = await machine.trainedBeyond(seen);
    });
    await t.test("SIGKILL of the first worker, which the others speak to", async (sub) => {
      const python = machine.pythonOf("gpu-0");
      machine.kill("gpu-0");
      const seconds = await secondsUntil(() => !lives(python));
      sub.diagnostic(`its Python process was gone after ${seconds.toFixed(2)} s`);
      assert.ok(seconds < 5);
      seen = await machine.trainedBeyond(seen);
    });
    await t.test("SIGTERM of a worker: all save, and no step is lost", async () => {
      process.kill(machine.pid("gpu-1"), "SIGTERM");
      await until(async () => (await machine.lastCheckpoint()).reason === "stop");
      const saved = await machine.lastCheckpoint();
      seen = await machine.trainedBeyond(seen);
      assert.equal((await machine.log()).findLast((entry) => entry.kind === "attempt")!.resumeStep, saved.step);
    });
    await t.test("a pause by signal: all save, no Python process stays, and the workers are given back", async () => {
      await signal("struck", SIGNALS.pause);
      await until(async () => (await progressOf(run)).pause.includes("--name resume"));
      assert.equal((await machine.lastCheckpoint()).reason, "stop");
      await until(async () => (await machine.lease()).holder === null);
      assert.deepEqual(rankProcesses(), []);
      await signal("struck", SIGNALS.resume);
      seen = await machine.trainedBeyond(seen);
    });
    await t.test("a pause of one worker's activity, as from the UI: all save and wait until it is unpaused", async () => {
      const id = await pendingActivity(run, /^train-1-g/);
      await activity("pause", "struck", id);
      await until(async () => (await rowOf(run, "train")).includes(`temporal activity unpause --workflow-id struck --activity-id ${id}`));
      assert.equal((await machine.lastCheckpoint()).reason, "stop");
      assert.deepEqual(rankProcesses(), []);
      await activity("unpause", "struck", id);
      seen = await machine.trainedBeyond(seen);
    });

    const result = await run.result();
    assert.ok(result.trainingAttempts >= 6, `${result.trainingAttempts} attempts`);
    await assertUndisturbed(result);
  },
);

test(
  "a cancelled run has saved within seconds and leaves no process; a new one goes on from there to the same bits",
  long,
  async (t: TestContext) => {
    await undisturbed();
    const run = await machine.start("cancelled", machine.configOf());
    await machine.trainedBeyond(0);
    const from = performance.now();
    await machine.temporal("workflow", "cancel", "--workflow-id", "cancelled");
    await assert.rejects(run.result(), WorkflowFailedError);
    const seconds = (performance.now() - from) / 1000;
    t.diagnostic(`cancelled after ${seconds.toFixed(1)} s`);
    assert.ok(seconds < 30);
    assert.equal((await run.describe()).status.name, "CANCELLED");
    const saved = await machine.lastCheckpoint();
    assert.equal(saved.reason, "stop");
    await assertNothingLeft();
    const result = await (await machine.goOn("anew", machine.configOf())).result();
    assert.equal(trained(result).metrics["resumedAtStep"], saved.step);
    await assertUndisturbed(result);
  },
);
