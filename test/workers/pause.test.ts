import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { WorkflowFailedError } from "@temporalio/client";
import { SIGNALS, type FinetuneResult } from "../../workflows/contract.js";
import { digestOf, progressOf, rowOf, startMachine, undisturbedDigest, until, type Machine, type Run, trained } from "./machine.js";

/** Pauses, cancel and reset by the stock CLI, of runs on eight real worker processes. */

let machine: Machine;
before(async () => {
  machine = await startMachine(8);
});
after(() => machine?.stop());

const long = { timeout: 480_000 };

/** Steps enough to be paused three times in, or once, while training is slow. */
const EPOCHS = { thrice: 5, once: 3 };

const configOf = (epochs: number): unknown => ({ ...machine.config, train: { ...machine.config.train, shards: 8, epochs } });

const digests = new Map<number, string>();
/** The state's digest of a run that nobody disturbs. */
async function undisturbed(epochs: number = EPOCHS.once): Promise<string> {
  const digest = digests.get(epochs) ?? (await undisturbedDigest(configOf(epochs)));
  digests.set(epochs, digest);
  return digest;
}

/** Starts a run and waits until it has trained, slowly, for two checkpoints. */
async function training(id: string, epochs: number = EPOCHS.once): Promise<Run> {
  await machine.slow(true);
  const run = await machine.start(id, configOf(epochs));
  await checkpoints(2);
  return run;
}

/** Waits for more entries of the commit log than so many. */
async function checkpoints(count: number): Promise<void> {
  const before = await machine.commits();
  await until(async () => (await machine.commits()) > before + count);
}

const activity = (verb: "pause" | "unpause", workflowId: string, id: string): Promise<string> =>
  machine.temporal("activity", verb, "--workflow-id", workflowId, "--activity-id", id);
const signal = (workflowId: string, name: string): Promise<string> =>
  machine.temporal("workflow", "signal", "--workflow-id", workflowId, "--name", name);
const unpauseCommand = (workflowId: string, id: string): string =>
  `temporal activity unpause --workflow-id ${workflowId} --activity-id ${id}`;

test("a paused worker holds training until unpause, longer than every timeout and whatever is killed", long, async () => {
  const run = await training("held", EPOCHS.thrice);
  const pending = async (): Promise<{ activityId: string; paused: boolean }[]> =>
    (await run.describe()).raw.pendingActivities!.map(({ activityId, paused }) => ({ activityId: activityId!, paused: paused! }));
  // worker 0, which speaks for all; the last one; and one that is killed in the very moment
  for (const worker of [0, 7, 4]) {
    // the attempt before may have ended with an entry, the next one begins with one: only a third is a checkpoint for sure
    if (worker !== 0) await checkpoints(2);
    let id: string | undefined;
    await until(
      async () => (id = (await pending()).find(({ activityId }) => activityId.startsWith(`train-${worker}-g`))?.activityId) !== undefined,
    );
    await activity("pause", "held", id!);
    if (worker === 4) machine.kill("gpu-4");
    await until(async () => (await rowOf(run, "train")).includes(unpauseCommand("held", id!)));
    const commits = await machine.commits();
    if (worker === 0) {
      machine.kill("gpu-0", "pipeline");
      // beyond the heartbeat's timeout and the time that an activity may wait for its worker
      await sleep(17_000);
    }
    assert.equal(await machine.commits(), commits);
    assert.deepEqual(await pending(), [{ activityId: id, paused: true }]);
    await activity("unpause", "held", id!);
  }
  await machine.slow(false);
  const result = await run.result();
  assert.ok(result.trainingAttempts >= 4, `${result.trainingAttempts} attempts`);
  assert.equal(digestOf(result), await undisturbed(EPOCHS.thrice));
});

test("a paused run has saved and gives its workers back; it can be reset, and goes on to the same bytes", long, async () => {
  const run = await training("whole");
  await signal("whole", SIGNALS.pause);
  const pausedNow = async (): Promise<boolean> =>
    (await progressOf(run)).pause.endsWith("temporal workflow signal --workflow-id whole --name resume");
  await until(pausedNow);
  await machine.slow(false);
  assert.match(await rowOf(run, "train"), /^paused/);
  await until(async () => (await machine.lease()).holder === null);
  const commits = await machine.commits();
  machine.kill("pipeline", "gpu-0", "gpu-5");
  await sleep(12_000);
  assert.equal(await machine.commits(), commits);
  assert.deepEqual((await run.describe()).raw.pendingActivities ?? [], []);

  await machine.temporal("workflow", "reset", "--workflow-id", "whole", "--type", "FirstWorkflowTask", "--reason", "once more");
  const again = machine.client.workflow.getHandle("whole");
  await until(async () => (await progressOf(again)).pause.startsWith("paused"));
  await signal("whole", SIGNALS.resume);
  const result = (await again.result()) as FinetuneResult;
  assert.equal(digestOf(result), await undisturbed());
  const { reused, metrics } = trained(result);
  assert.ok(!reused && (metrics["resumedAtStep"] as number) > 0, "reset finds what was trained");
  assert.deepEqual(
    result.stages.slice(0, 2).map((stage) => stage.reused),
    [true, true],
  );
});

test("a cancelled run has saved, frees its workers and is gone on with by a new one with the same input", long, async () => {
  const run = await training("cancelled");
  await machine.temporal("workflow", "cancel", "--workflow-id", "cancelled");
  await assert.rejects(run.result(), WorkflowFailedError);
  await machine.slow(false);
  assert.equal((await run.describe()).status.name, "CANCELLED");
  await until(async () => (await machine.lease()).holder === null);
  const result = await (await machine.goOn("anew", configOf(EPOCHS.once))).result();
  assert.equal(digestOf(result), await undisturbed());
  const train = trained(result);
  assert.ok(!train.reused && (train.metrics["resumedAtStep"] as number) > 0);
  const third = await (await machine.goOn("third", configOf(EPOCHS.once))).result();
  assert.ok(third.stages.every(({ reused }) => reused));
});

test("a run that is reset in the middle of training goes on from its last checkpoint", long, async () => {
  await training("reset");
  await machine.temporal("workflow", "reset", "--workflow-id", "reset", "--type", "LastWorkflowTask", "--reason", "once more");
  await machine.slow(false);
  const result = (await machine.client.workflow.getHandle("reset").result()) as FinetuneResult;
  assert.equal(digestOf(result), await undisturbed());
  assert.ok((trained(result).metrics["resumedAtStep"] as number) > 0);
});
