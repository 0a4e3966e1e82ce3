import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WorkflowFailedError } from "@temporalio/client";
import { digestOf, rowOf, startMachine, undisturbedDigest, until, type Machine } from "./machine.js";

/** Workers that freeze and never go on: their sockets stay open, and those that wait for them at a barrier hear of nothing. */

let machine: Machine;
before(async () => {
  machine = await startMachine(3);
});
after(() => machine?.stop());

/** Stops a worker's process for good, as one that hangs in the kernel. */
function freeze(name: string): void {
  process.kill(machine.pid(name), "SIGSTOP");
}

test("a run goes on without a worker that is frozen, and can be cancelled while another one is", { timeout: 480_000 }, async () => {
  const train = { ...machine.config.train, workers: { min: 1, waitSeconds: 40 } };
  const config = { ...machine.config, train };
  await machine.slow(true);
  const run = await machine.start("frozen", config);
  await until(async () => (await machine.commits()) >= 3);
  freeze("gpu-1");
  await until(async () => (await rowOf(run, "train")).includes(" on 2 workers:"));
  const commits = await machine.commits();
  await until(async () => (await machine.commits()) > commits);

  // the first worker, which the others speak to
  freeze("gpu-0");
  await machine.temporal("workflow", "cancel", "--workflow-id", "frozen");
  await assert.rejects(run.result(), WorkflowFailedError);
  assert.equal((await run.describe()).status.name, "CANCELLED");
  await until(async () => (await machine.lease()).holder === null);

  await machine.slow(false);
  machine.kill("gpu-0", "gpu-1");
  assert.equal(digestOf(await (await machine.goOn("anew", config)).result()), await undisturbedDigest(config));
});
