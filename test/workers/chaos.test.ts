import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { leftByMachine } from "../chaos/leftovers.js";
import { ChaosMachine } from "../chaos/machine.js";
import { companyOf, describe, MOMENTS, planFaults, type Fault, type Moment } from "../chaos/plan.js";
import { runOnce, type Outcome } from "../chaos/run.js";

/** A short run of `npm run chaos`, and the command that repeats it. */
const [SEED, FAULTS, STAGES] = [487, 4, ["train", "publish"] as const];
const AGAIN = `npm run chaos -- --seed ${SEED} --runs 1 --faults ${FAULTS} --stages ${STAGES.join(",")}`;

let machine: ChaosMachine;
before(async () => {
  machine = await ChaosMachine.start();
});
after(async () => {
  await machine?.stop();
  await machine?.remove();
});

test("a plan is a function of its seed, in the order of a run, and over many seeds everything is struck", () => {
  assert.deepEqual(planFaults(3, 8), planFaults(3, 8));
  const order = Object.keys(MOMENTS) as Moment[];
  const faults = Array.from({ length: 300 }, (_, seed) => planFaults(seed, 6));
  for (const plan of faults)
    assert.ok(plan.every(({ moment }, index) => index === 0 || order.indexOf(plan[index - 1]!.moment) <= order.indexOf(moment)));
  const all = faults.flat();
  const kinds = ["kill", "term", "stop", "cut", "500", "503", "slow", "lost answer", "silence", "flip", "tear", "full"];
  assert.deepEqual(new Set(all.map(({ kind }) => kind)), new Set([...kinds, "reset", "cancel", "terminate"]));
  assert.equal(new Set(all.map(({ moment }) => moment)).size, order.length);
  assert.equal(new Set(all.map(({ target }) => target)).size, 23);
  assert.equal(new Set(faults.map((_, seed) => companyOf(seed))).size, 3);
});

/** What an undisturbed run comes to. */
let calm: Outcome | undefined;
const undisturbed = async (): Promise<Outcome> => (calm ??= (await runOnce(machine, "calm", [], () => undefined)).outcomes[0]!);

test(
  "everything is killed at once in training: started again, the run goes on by itself to the same bytes",
  { timeout: 580_000 },
  async (t) => {
    const { stateDigest, weights } = await undisturbed();
    const fault: Fault = { kind: "kill", target: "everything", moment: "4 commits", delayMs: 0, where: 0 };
    const say = (line: string): void => t.diagnostic(line.trim());
    // a busy machine's workers may take their time to be back, and the second attempt is to have all of them
    const { outcomes, struck } = await runOnce(machine, "all-killed", [fault], say, "none", t.signal, 60);
    assert.deepEqual(struck, [fault]);
    assert.deepEqual([outcomes[0]!.stateDigest, outcomes[0]!.weights], [stateDigest, weights]);
    assert.equal(outcomes[0]!.attempts, 2);
  },
);

test("a run under faults ends with the bytes of an undisturbed one, and nothing is left", { timeout: 580_000 }, async (t) => {
  const { stateDigest, weights } = await undisturbed();
  const faults = planFaults(SEED, FAULTS, STAGES);
  t.diagnostic(`repeat with: ${AGAIN}`);
  const disturbed = await runOnce(machine, "disturbed", faults, (line) => t.diagnostic(line.trim()));
  assert.ok(disturbed.struck.length >= 2, `struck: ${disturbed.struck.map(describe).join("; ")}; repeat with: ${AGAIN}`);
  const [outcome] = disturbed.outcomes;
  assert.deepEqual([outcome!.stateDigest, outcome!.weights], [stateDigest, weights]);
  await machine.stop();
  assert.deepEqual(await leftByMachine(machine.home), []);
});
