import { basename } from "node:path";
import type { RunConfig } from "../../core/config/schema.js";
import { comparesWithLive, failureWords, judgeRule } from "../../core/stages/gate.js";
import type { Gate, Perplexity, PerplexityVerdict, Verdict } from "../../core/stages/metrics.js";
import type { Ends } from "../../core/stages/bootstrap.js";
import type { Figure, JsonEnds } from "../../core/stages/figures.js";
import type { PerplexityReport } from "./perplexity.js";
import type { Sample } from "./samples.js";

/** A published model that an evaluation compares with: where it is, or just its name if it lies below the run's own target, and its manifest's SHA-256. */
export type LiveReference = NonNullable<RunConfig["evaluate"]["live"]>;

/** The stage's output, `evaluation.json`. */
export interface Evaluation extends PerplexityReport {
  readonly gate: Gate;
  /** the model that figures and rules call live; absent: no rule compares with it */
  readonly live?: LiveReference;
  /** of every task, in order; an earlier version had none */
  readonly figures?: readonly Figure[];
  readonly samples: readonly Sample[];
  /** reports of the further tasks, by name; absent when there are none */
  readonly tasks?: Readonly<Record<string, unknown>>;
}

/** The perplexities of an evaluation that was read from its file: JSON has no infinity and writes null instead. */
export function perplexityIn({ perplexity: { base, tuned }, heldOut }: Pick<Evaluation, "perplexity" | "heldOut">): Perplexity {
  const missing = heldOut.labels > 0 ? Infinity : null;
  return { base: base ?? missing, tuned: tuned ?? missing };
}

/** A figure of an evaluation; null: it was not measured, or an earlier version measured it. */
export function figureNamed({ figures = [] }: Pick<Evaluation, "figures">, metric: string): Figure | null {
  return figures.find((figure) => figure.metric === metric) ?? null;
}

/** The intervals of both perplexities and of their ratio; null: there are none. */
export function intervalIn(
  evaluation: Pick<Evaluation, "figures">,
): { readonly base: Ends; readonly tuned: Ends; readonly ratio: Ends; readonly resamples: number } | null {
  const intervals = figureNamed(evaluation, "perplexity")?.intervals;
  if (intervals === undefined) return null;
  const { base, tuned, ratio, resamples } = intervals;
  return { base: endsIn(base), tuned: endsIn(tuned), ratio: endsIn(ratio.base), resamples };
}

/** The ends of an interval with the infinity that JSON lacks. */
function endsIn([low, high]: JsonEnds): Ends {
  return [low ?? Infinity, high ?? Infinity];
}

/** The tasks whose reports stand at the top of the file: every list of tasks has them. */
interface TopReports {
  readonly perplexity: PerplexityReport;
  readonly samples: readonly Sample[];
}

/** A live model as it is published and part of keys: of one on this machine just the name, because the manifest's digest tells it. */
export function publicLive({ uri, manifest }: LiveReference): LiveReference {
  return { uri: uri.startsWith("file:") ? basename(uri) : uri, manifest };
}

/** Puts the reports of all tasks, and what the gate makes of them, together in the order in which they are written. */
export function evaluationOf(
  reports: Readonly<Record<string, unknown>>,
  verdicts: Readonly<Record<string, Verdict>>,
  figures: readonly Figure[],
  { gate: settings, live }: Pick<RunConfig["evaluate"], "gate" | "live">,
): Evaluation {
  const { perplexity, samples, ...tasks } = reports as TopReports & typeof reports;
  const { perplexity: compared, ...others } = verdicts as { readonly perplexity: PerplexityVerdict } & typeof verdicts;
  const rules = settings.rules.map((rule) => judgeRule(rule, figures));
  const all = [...Object.values(verdicts), ...rules];
  const judged: Gate = {
    ...compared,
    judged: all.some(({ judged }) => judged),
    passed: all.every(({ passed }) => passed),
    ...(rules.length > 0 && { rules }),
    ...(Object.keys(others).length > 0 && { tasks: others }),
  };
  const reason = failureWords(judged, perplexity.heldOut.labels);
  const gate: Gate = { ...judged, ...(reason !== null && { reason }) };
  return {
    perplexity: perplexity.perplexity,
    gate,
    heldOut: perplexity.heldOut,
    ...(comparesWithLive({ gate: settings }) && live !== null && { live: publicLive(live) }),
    figures,
    samples,
    ...(Object.keys(tasks).length === 0 ? {} : { tasks }),
  };
}
