import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { leftInHome } from "../../chaos/leftovers.js";
import { digestOf, rowOf, until } from "../../workers/machine.js";
import { startDeepSpeed, type DeepSpeedMachine } from "../machine.js";
import { rankProcesses } from "../processes.js";

/** Processes that freeze: nobody hears of an end, and collectives wait. */

let machine: DeepSpeedMachine;
before(async () => {
  machine = await startDeepSpeed();
});
after(async () => {
  await machine?.stop();
  assert.deepEqual(rankProcesses(), []);
});

const long = { timeout: 1_200_000 };

const seconds = (from: number): number => (performance.now() - from) / 1000;

test("a Python process that is frozen is ended within a minute, and the run comes to the same bits", long, async (t) => {
  const calm = digestOf(await (await machine.start("calm", machine.configOf())).result());
  const losses = machine.losses();
  const run = await machine.start("python", machine.configOf());
  const seen = await machine.trainedBeyond(0);
  const from = performance.now();
  process.kill(machine.pythonOf("gpu-1"), "SIGSTOP");
  await until(async () => (await machine.log()).slice(seen).some(({ kind }) => kind === "end"));
  t.diagnostic(`the next attempt began after ${seconds(from).toFixed(1)} s`);
  assert.ok(seconds(from) < 60);
  const result = await run.result();
  assert.equal(result.trainingAttempts, 2);
  assert.equal(digestOf(result), calm);
  assert.deepEqual(machine.losses(), losses);
  assert.deepEqual(rankProcesses(), []);
  assert.deepEqual(await leftInHome(machine.home), []);
});

test(
  "a run goes on without a worker that is frozen, whose Python process waits; when it wakes it commits nothing and takes part again",
  long,
  async (t) => {
    const run = await machine.start("worker", machine.configOf({ workers: { min: 1, waitSeconds: 40 } }));
    const seen = await machine.trainedBeyond(0);
    const from = performance.now();
    const [zombie, python] = [machine.pid("gpu-1"), machine.pythonOf("gpu-1")];
    process.kill(zombie, "SIGSTOP");
    await until(async () => (await rowOf(run, "train")).includes(" on 1 worker: "));
    t.diagnostic(`it went on after ${seconds(from).toFixed(1)} s`);
    await machine.trainedBeyond(seen);
    const ofOld = async (): Promise<number> =>
      (await machine.log()).filter((entry) => entry.kind === "checkpoint" && entry.generation === 1).length;
    const before = await ofOld();
    assert.ok(rankProcesses().includes(python));
    process.kill(zombie, "SIGCONT");
    await until(() => !rankProcesses().includes(python));
    await run.result();
    assert.equal(await ofOld(), before);
    assert.equal(machine.losses().length, (await machine.lastCheckpoint()).step);
    assert.deepEqual(rankProcesses(), []);
    assert.deepEqual(await leftInHome(machine.home), []);
  },
);
