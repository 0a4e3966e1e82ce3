import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { digestOf, rowOf, startMachine, undisturbedDigest, until, type Machine } from "./machine.js";

/** Eight real worker processes, five of which go for good and come back. */

let machine: Machine;
before(async () => {
  machine = await startMachine(8);
});
after(() => machine?.stop());

test(
  "with five of eight workers gone it goes on with three, and on eight after a checkpoint when they are back",
  { timeout: 480_000 },
  async () => {
    const config = {
      ...machine.config,
      train: { ...machine.config.train, shards: 8, epochs: 5, checkpointEverySteps: 10, workers: { min: 1, waitSeconds: 5 } },
    };
    // it must not be through before they are back
    await machine.slow(true);
    const run = await machine.start("fewer", config);
    const row = async (text: string): Promise<void> => until(async () => (await rowOf(run, "train")).includes(text));
    await until(async () => (await machine.commits()) >= 3);
    const five = ["gpu-1", "gpu-2", "gpu-4", "gpu-5", "gpu-7"];
    machine.lose(...five);
    await row("waiting at most 5 s for GPU workers that do not answer: ");
    await row(" on 3 workers: ");
    await until(async () => (await machine.lease()).workers.length === 3);
    await machine.bringBack(...five);
    await row(" on 8 workers: ");
    await machine.slow(false);
    const result = await run.result();
    assert.equal(digestOf(result), await undisturbedDigest(config));
  },
);
