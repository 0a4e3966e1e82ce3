import { parseArgs } from "node:util";
import { wholeNumber } from "../../cli/shell/command.js";
import { messageOf } from "../../core/errors.js";
import { STAGES, type StageName } from "../../core/stages/results.js";
import { leftByMachine } from "./leftovers.js";
import { ChaosMachine } from "./machine.js";
import { companyOf, MOMENTS, planFaults, type Fault } from "./plan.js";
import { runOnce, type Outcome } from "./run.js";

/**
 * `npm run chaos -- [--seed N] [--runs N] [--faults N] [--stages A,B]`: run r has the seed N + r and this number of faults,
 * in these stages.
 */
const text = { type: "string" } as const;
const { values } = parseArgs({ options: { seed: text, runs: text, faults: text, stages: text } });
const seed = wholeNumber("--seed", values.seed ?? `${Date.now() % 1_000_000}`);
const runs = wholeNumber("--runs", values.runs ?? "40");
const faults = wholeNumber("--faults", values.faults ?? "6");
const stages = STAGES.filter((stage) => values.stages?.split(",").includes(stage) ?? true);

const say = (line: string): void => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort(new Error("interrupted")));

const struck: Fault[] = [];
const failed: string[] = [];
let done = 0;
const machine = await ChaosMachine.start();
if (!machine.smallDisk) say("the disk is never filled: a small disk cannot be mounted here, which needs root's rights");
/** Outcomes of undisturbed runs: of the usual job, and of the other one once it is needed. */
const calm: Outcome[] = [];
try {
  const { outcomes, seconds } = await runOnce(machine, "calm", [], say, "none", interrupted.signal);
  calm.push(outcomes[0]!);
  say(`undisturbed: ${seconds.toFixed(1)} s, state ${calm[0]!.stateDigest}, weights ${calm[0]!.weights}`);
  for (let run = 0; run < runs && !interrupted.signal.aborted; run++) {
    const runSeed = seed + run;
    const company = companyOf(runSeed);
    say(`run ${run + 1} of ${runs}, seed ${runSeed}${company === "none" ? "" : `, beside a run of ${company}`}`);
    if (company === "another input" && calm.length === 1)
      calm.push((await runOnce(machine, "calm-2", [], say, company, interrupted.signal)).outcomes[1]!);
    const problem = await runOnce(machine, `run-${runSeed}`, planFaults(runSeed, faults, stages), say, company, interrupted.signal).then(
      (came) => {
        struck.push(...came.struck);
        const expected = company === "another input" ? calm : [calm[0]!, calm[0]!];
        const wrong =
          came.outcomes.map((outcome, index) => verdict(outcome, expected[index]!)).find((difference) => difference !== null) ?? null;
        const attempts = came.outcomes.reduce((sum, outcome) => sum + outcome.attempts, 0);
        say(`  ${came.seconds.toFixed(1)} s, ${came.struck.length} faults, ${attempts} training attempts: ${wrong ?? "digests equal"}`);
        return wrong;
      },
      (error: unknown) => messageOf(error),
    );
    done++;
    if (problem === null) continue;
    failed.push(`seed ${runSeed}: ${problem}`);
    say(
      `  FAILED: ${problem}\n  repeat with: npm run chaos -- --seed ${runSeed} --runs 1 --faults ${faults}${values.stages === undefined ? "" : ` --stages ${values.stages}`}`,
    );
    // what a failed run has left would disturb the next one
    break;
  }
} catch (error) {
  failed.push(messageOf(error));
  say(`FAILED: ${messageOf(error)}`);
} finally {
  await machine.stop();
}
const left = await leftByMachine(machine.home);
if (left.length > 0) failed.push(`left behind: ${left.join(", ")}`);
if (failed.length === 0 || interrupted.signal.aborted) await machine.remove();
else console.log(`files and logs of the failed run: ${await machine.keep()}`);
for (const [what, counts] of tally(struck)) console.log(`  ${String(sum(counts)).padStart(4)}  ${what}: ${inStages(counts)}`);
console.log(`${struck.length} faults, ${done} runs, ${failed.length === 0 ? "digests equal, nothing left behind" : failed.join("; ")}`);
process.exit(failed.length === 0 ? 0 : 1);

function verdict(outcome: Outcome, expected: Outcome): string | null {
  if (outcome.stateDigest !== expected.stateDigest) return `state ${outcome.stateDigest} instead of ${expected.stateDigest}`;
  return outcome.weights === expected.weights ? null : `weights ${outcome.weights} instead of ${expected.weights}`;
}

type Counts = Map<StageName, number>;

/** How often each fault was struck, by stage; the most frequent first. */
function tally(all: readonly Fault[]): [string, Counts][] {
  const table = new Map<string, Counts>();
  for (const { kind, target, moment } of all) {
    const counts: Counts = table.get(`${kind} ${target}`) ?? new Map<StageName, number>();
    table.set(`${kind} ${target}`, counts.set(MOMENTS[moment], (counts.get(MOMENTS[moment]) ?? 0) + 1));
  }
  return [...table].sort(([, a], [, b]) => sum(b) - sum(a));
}

function sum(counts: Counts): number {
  return [...counts.values()].reduce((total, count) => total + count, 0);
}

function inStages(counts: Counts): string {
  return [...counts].map(([stage, count]) => `${count} in ${stage}`).join(", ");
}
