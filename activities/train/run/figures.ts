import type { Ledger } from "../../../core/stages/ledger.js";
import type { TrainMetrics } from "../../../core/stages/metrics.js";
import type { StepRecord, TimeSpent } from "../../../engines/engine.js";
import { checkpoints, history, lineOf, type Checkpoint } from "../log/checkpoint.js";
import type { CommitLog } from "../log/commit-log.js";
import { goodput, proofLine } from "../log/ledger-words.js";
import { pastOf } from "../log/past.js";

/** Figures of the whole run that ends with a checkpoint, the steps before a resume too; rates are medians over the steps but the first. */
export function figures(log: CommitLog, { commit, entry }: Checkpoint, ledger: Ledger): TrainMetrics {
  const steps = history(log, commit);
  const rate = (of: (step: StepRecord) => number): number =>
    median((steps.length > 1 ? steps.slice(1) : steps).map((step) => of(step) / step.seconds));
  const attempts = log.entries.flatMap((each) => (each.kind === "attempt" ? [each] : []));
  const line = checkpoints(log).filter((each) => each.entry.step <= entry.step);
  const past = pastOf(lineOf(log, commit));
  return {
    seconds: steps.reduce((sum, step) => sum + step.seconds, 0),
    // first, because the UI shows as much of them as fits
    goodput: goodput(ledger),
    proof: proofLine(ledger),
    steps: entry.step,
    // an earlier version wrote 0 for a step without labels
    losses: steps.map((step) => (step.labels === 0 ? null : step.loss)),
    gradientNorms: steps.map((step) => (step.labels === 0 ? null : step.norm)),
    ...evaluations(steps, entry.step),
    rates: steps.map((step) => step.tokens / step.seconds),
    tokensPerSecond: rate((step) => step.tokens),
    rowsPerSecond: rate((step) => step.rows),
    lossTokensPerSecond: rate((step) => step.labels),
    timeShares: timeShares(steps),
    tokens: steps.reduce((sum, step) => sum + step.tokens, 0),
    resumedAtStep: attempts.at(-1)?.resumeStep ?? 0,
    attempts: attempts.length + (past?.spans.length ?? 0),
    fingerprint: { ...entry.fingerprint },
    /** false: parts of the run ran on different kinds of machine or engine, so equal bytes are not promised */
    oneKindOfMachine: past === null && new Set(line.map((each) => JSON.stringify(each.entry.fingerprint))).size === 1,
    ledger,
  };
}

/** The losses on the test rows, of those of the last records that have one; `last`: steps done after the last record. */
function evaluations(steps: readonly StepRecord[], last: number): Pick<TrainMetrics, "evaluations"> {
  const first = last - steps.length + 1;
  const measured = steps.flatMap(({ evaluation }, index) =>
    evaluation === undefined ? [] : [{ step: first + index, loss: evaluation.loss }],
  );
  return measured.length === 0 ? {} : { evaluations: measured };
}

/** What part of the first rank's time went where, over all steps. */
function timeShares(steps: readonly StepRecord[]): TimeSpent {
  const total = steps.reduce((sum, step) => sum + step.seconds, 0);
  const names = [...new Set(steps.flatMap(({ spent }) => Object.keys(spent)))];
  return Object.fromEntries(names.map((name) => [name, steps.reduce((sum, { spent }) => sum + (spent[name] ?? 0), 0) / total]));
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
