import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { WorkflowFailedError } from "@temporalio/client";
import { FINETUNE, TASK_QUEUE } from "../../workflows/contract.js";
import { leftInHome } from "../chaos/leftovers.js";
import { digestOf, startMachine, until, type Machine } from "./machine.js";

/** However a run ends, nothing of it stays but what the next one goes on from. */

let machine: Machine;
before(async () => {
  machine = await startMachine(2);
});
after(() => machine?.stop());

/** Nothing on disk or in shared memory, and nothing that the living workers still hold. */
async function assertNothingLeft(): Promise<void> {
  assert.deepEqual(await leftInHome(machine.home), []);
  for (const name of ["gpu-0", "gpu-1"])
    if (existsSync("/proc/self/maps"))
      await until(() => !/\/roslin-\w+-g\d+\.weights/.test(readFileSync(`/proc/${machine.pid(name)}/maps`, "utf8")));
}

const training = (commits: number) => until(async () => (await machine.commits()) >= commits);

test("a cancelled run has saved and leaves nothing else; the same input goes on from there", { timeout: 240_000 }, async () => {
  const calm = await (await machine.start("calm")).result();
  await assertNothingLeft();

  await machine.slow(true);
  const run = await machine.start("cancelled");
  await training(3);
  await machine.temporal("workflow", "cancel", "--workflow-id", "cancelled");
  await assert.rejects(run.result(), WorkflowFailedError);
  await machine.slow(false);
  const saved = await machine.commits();
  await assertNothingLeft();
  assert.equal(await machine.commits(), saved);

  const options = { taskQueue: TASK_QUEUE, workflowId: "resumed", args: [machine.config] };
  const resumed = await machine.client.workflow.execute(FINETUNE, options);
  assert.equal(digestOf(resumed), digestOf(calm));
  const { metrics } = resumed.stages.find(({ stage }: { stage: string }) => stage === "train")!;
  assert.ok((metrics["resumedAtStep"] as number) > 0);
});

test("a terminated run leaves nothing", { timeout: 240_000 }, async () => {
  await machine.slow(true);
  await machine.start("terminated");
  await training(2);
  await machine.temporal("workflow", "terminate", "--workflow-id", "terminated");
  await machine.slow(false);
  await assertNothingLeft();
});

test("a run that fails while it trains leaves nothing", { timeout: 240_000 }, async () => {
  const train = { ...machine.config.train, learningRate: 1e30, maxGradNorm: 1e30 };
  const run = await machine.start("failed", { ...machine.config, train });
  await assert.rejects(run.result(), (error) => error instanceof WorkflowFailedError && /not finite/.test(String(error.cause)));
  await assertNothingLeft();
});
