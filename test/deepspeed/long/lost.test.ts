import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WorkflowFailedError } from "@temporalio/client";
import { leftInHome } from "../../chaos/leftovers.js";
import { rowOf, until } from "../../workers/machine.js";
import { startDeepSpeed, type DeepSpeedMachine } from "../machine.js";
import { rankProcesses } from "../processes.js";

/** A worker that is lost for good, and runs that end early: nothing of them is left. */

let machine: DeepSpeedMachine;
before(async () => {
  machine = await startDeepSpeed();
});
after(async () => {
  await machine?.stop();
  assert.deepEqual(rankProcesses(), []);
});

const long = { timeout: 1_200_000 };

/** Losses on another number of ranks differ by no more. */
const ROUNDING = 1e-6;

async function assertNothingLeft(): Promise<void> {
  assert.deepEqual(rankProcesses(), []);
  assert.deepEqual(await leftInHome(machine.home), []);
}

test("a run that is cancelled while its Python processes start ends at once", long, async (t) => {
  const run = await machine.start("early", machine.configOf());
  await until(() => rankProcesses().length === 2);
  const from = performance.now();
  await machine.temporal("workflow", "cancel", "--workflow-id", "early");
  await assert.rejects(run.result(), WorkflowFailedError);
  const seconds = (performance.now() - from) / 1000;
  t.diagnostic(`cancelled after ${seconds.toFixed(1)} s`);
  assert.ok(seconds < 30);
  await assertNothingLeft();
});

test("with a worker lost for good it goes on with one rank, and again with two when it is back", long, async (t) => {
  await (await machine.start("calm", machine.configOf())).result();
  const expected = machine.losses();
  const run = await machine.start("fewer", machine.configOf());
  let seen = await machine.trainedBeyond(0);
  machine.lose("gpu-1");
  await until(async () => (await rowOf(run, "train")).includes(" on 1 worker: "));
  seen = await machine.trainedBeyond(seen);
  assert.equal((await machine.lastCheckpoint()).fingerprint["ranks"], 1);
  await machine.bringBack("gpu-1");
  const result = await run.result();
  assert.ok(result.trainingAttempts >= 3, `${result.trainingAttempts} attempts`);
  const losses = machine.losses();
  assert.equal(losses.length, expected.length);
  const distance = Math.max(...losses.map((loss, step) => Math.abs(loss - expected[step]!)));
  t.diagnostic(`losses ${distance} apart`);
  assert.ok(distance <= ROUNDING);
  await assertNothingLeft();
});

test("a step that is not finite fails the run, which names step, shards and rows", long, async () => {
  const run = await machine.start("failed", machine.configOf({ learningRate: 1e30, maxGradNorm: 1e30 }));
  await assert.rejects(
    run.result(),
    (error) =>
      error instanceof WorkflowFailedError && /not finite.*\[step=\d+, loss=.*, shards=[\d ]+, rows=[\d ]+\]/.test(String(error.cause)),
  );
  await assertNothingLeft();
});
