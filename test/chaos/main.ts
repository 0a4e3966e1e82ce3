import { parseArgs } from "node:util";
import { wholeNumber } from "../../cli/command.js";
import { messageOf } from "../../core/errors.js";
import { leftByMachine } from "./leftovers.js";
import { ChaosMachine } from "./machine.js";
import { planFaults, type Fault } from "./plan.js";
import { runOnce, type Outcome } from "./run.js";

/** `npm run chaos -- [--seed N] [--runs N] [--faults N]`: run r has the seed N + r and so many faults. */
const { values } = parseArgs({ options: { seed: { type: "string" }, runs: { type: "string" }, faults: { type: "string" } } });
const seed = wholeNumber("--seed", values.seed ?? `${Date.now() % 1_000_000}`);
const runs = wholeNumber("--runs", values.runs ?? "40");
const faults = wholeNumber("--faults", values.faults ?? "6");

const say = (line: string): void => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());

const struck: Fault[] = [];
const failed: string[] = [];
let done = 0;
const machine = await ChaosMachine.start();
try {
  const calm = await runOnce(machine, "calm", [], say);
  say(`undisturbed: ${calm.seconds.toFixed(1)} s, state ${calm.stateDigest}, weights ${calm.weights}`);
  for (let run = 0; run < runs && !interrupted.signal.aborted; run++) {
    const own = seed + run;
    say(`run ${run + 1} of ${runs}, seed ${own}`);
    const problem = await runOnce(machine, `run-${own}`, planFaults(own, faults), say).then(
      (outcome) => {
        struck.push(...outcome.struck);
        say(
          `  ${outcome.seconds.toFixed(1)} s, ${outcome.struck.length} faults, ${outcome.attempts} training attempts: ${verdict(outcome, calm) ?? "digests equal"}`,
        );
        return verdict(outcome, calm);
      },
      (error: unknown) => messageOf(error),
    );
    done++;
    if (problem === null) continue;
    failed.push(`seed ${own}: ${problem}`);
    say(`  FAILED: ${problem}\n  again with: npm run chaos -- --seed ${own} --runs 1 --faults ${faults}; logs in ${machine.home}/logs`);
    // what a failed run holds would be in the next one's way
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
if (failed.length === 0) await machine.remove();
for (const [kind, count] of tally(struck)) console.log(`  ${String(count).padStart(4)}  ${kind}`);
console.log(`${struck.length} faults, ${done} runs, ${failed.length === 0 ? "digests equal, nothing left behind" : failed.join("; ")}`);
process.exit(failed.length === 0 ? 0 : 1);

function verdict(outcome: Outcome, calm: Outcome): string | null {
  if (outcome.stateDigest !== calm.stateDigest) return `state ${outcome.stateDigest} instead of ${calm.stateDigest}`;
  return outcome.weights === calm.weights ? null : `weights ${outcome.weights} instead of ${calm.weights}`;
}

function tally(faults: readonly Fault[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const { kind, target } of faults) counts.set(`${kind} ${target}`, (counts.get(`${kind} ${target}`) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}
