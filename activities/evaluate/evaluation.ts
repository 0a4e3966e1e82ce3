import type { Gate, Perplexity, PerplexityVerdict, Verdict } from "../../core/stages/metrics.js";
import type { Ends, PerplexityInterval } from "../../core/stages/bootstrap.js";
import type { PerplexityReport } from "./perplexity.js";
import type { Sample } from "./samples.js";

/** The stage's output, `evaluation.json`. */
export interface Evaluation extends PerplexityReport {
  readonly gate: Gate;
  readonly samples: readonly Sample[];
  /** reports of the further tasks, by name; absent when there are none */
  readonly tasks?: Readonly<Record<string, unknown>>;
}

/** The perplexities of an evaluation that was read from its file: JSON has no infinity and writes null instead. */
export function perplexityIn({ perplexity: { base, tuned }, heldOut }: Pick<Evaluation, "perplexity" | "heldOut">): Perplexity {
  const missing = heldOut.labels > 0 ? Infinity : null;
  return { base: base ?? missing, tuned: tuned ?? missing };
}

/** The intervals of an evaluation that was read from its file, with the infinity that JSON lacks; null: it has none. */
export function intervalIn({ interval }: Pick<Evaluation, "interval">): PerplexityInterval | null {
  if (interval === undefined) return null;
  const finite = ([low, high]: readonly [number | null, number | null]): Ends => [low ?? Infinity, high ?? Infinity];
  return { ...interval, base: finite(interval.base), tuned: finite(interval.tuned), ratio: finite(interval.ratio) };
}

/** The tasks whose reports stand at the top of the file: every list of tasks has them. */
interface TopReports {
  readonly perplexity: PerplexityReport;
  readonly samples: readonly Sample[];
}

/** Puts the reports of all tasks, and the verdicts of those that give one, together by name, in the order in which they are written. */
export function evaluationOf(reports: Readonly<Record<string, unknown>>, verdicts: Readonly<Record<string, Verdict>>): Evaluation {
  const { perplexity, samples, ...tasks } = reports as TopReports & typeof reports;
  const { perplexity: compared, ...others } = verdicts as { readonly perplexity: PerplexityVerdict } & typeof verdicts;
  const all = Object.values(verdicts);
  const gate: Gate = { ...compared, judged: all.some(({ judged }) => judged), passed: all.every(({ passed }) => passed) };
  return {
    perplexity: perplexity.perplexity,
    gate: { ...gate, ...(Object.keys(others).length === 0 ? {} : { tasks: others }) },
    heldOut: perplexity.heldOut,
    ...(perplexity.interval === undefined ? {} : { interval: perplexity.interval }),
    samples,
    ...(Object.keys(tasks).length === 0 ? {} : { tasks }),
  };
}
