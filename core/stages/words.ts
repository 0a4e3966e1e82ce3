import { bytes, count, percent, rate } from "../units.js";
import type { Figure, ListEnds, StageMetrics, Trimmed } from "./metrics.js";

/** First and last of a run's losses, whole or already shortened; null when there are none. */
export function lossEnds(losses: ListEnds | readonly Figure[] | undefined): Pick<ListEnds, "count" | "first" | "last"> | null {
  if (losses === undefined || "count" in losses) return losses ?? null;
  return losses.length === 0 ? null : { count: losses.length, first: losses[0]!, last: losses.at(-1)! };
}

/** The gate in one or two words. */
export function gateWord({ judged, passed }: { readonly judged?: boolean; readonly passed?: boolean }): string {
  return judged === false ? "not judged" : passed === true ? "passed" : "failed";
}

type EveryMetric = StageMetrics["download"] &
  StageMetrics["preprocess"] &
  StageMetrics["train"] &
  StageMetrics["evaluate"] &
  StageMetrics["publish"];

/** What any stage may tell of itself, whole or as it came through Temporal. */
export type Figures = Partial<Trimmed<EveryMetric>>;

/** A stage's figures for a reader, in one line: what is there, in this order. */
export function metricWords(figures: Figures): string {
  const { cutAt, heldOut } = figures;
  const said = [
    told(figures.goodput, (share) => `${percent(Number(share))} of the time useful`),
    figures.proof,
    told(figures.steps, (steps) => count(Number(steps), "step")),
    lossLine(figures.losses),
    told(figures.perplexity, (measured) => perplexityLine(measured, heldOut)),
    told(figures.gate, (gate) => `gate ${gateWord(gate)}`),
    told(figures.samples, (samples) => `${count(Number(samples), "answer")} to read`),
    told(figures.target, (target) => `to ${target}`),
    told(figures.version, (name) => `as ${name}`),
    told(figures.latest, (moved) => (moved ? "latest.json names it" : "latest.json stays")),
    told(figures.objects, (objects) => count(Number(objects), "object")),
    told(figures.rows, (rows) => count(Number(rows), "row")),
    told(figures.trainRows, (rows) => `${count(Number(rows))} to train on`),
    told(figures.testRows, (rows) => `${count(Number(rows))} held out`),
    told(figures.dropped, (rows) => `${count(Number(rows))} dropped for an empty response`),
    told(figures.rejected, (rows) => `${count(Number(rows))} rejected`),
    told(
      figures.truncated,
      (rows) => `${count(Number(rows))} truncated${cutAt === undefined ? "" : ` at ${count(Number(cutAt), "token")}`}`,
    ),
    told(figures.duplicates, (rows) => count(Number(rows), "duplicate")),
    told(figures.tokens, (tokens) => count(Number(tokens), "token")),
    told(figures.lossShare, (share) => `${percent(Number(share))} of them with loss`),
    told(figures.lengths, (lengths) => `rows by tokens: ${histogram(lengths)}`),
    told(figures.tokensPerSecond, (perSecond) => rate(Number(perSecond), "tokens")),
    // nothing was left to do
    told(figures.rowsPerSecond, (perSecond) => (perSecond === 0 ? undefined : rate(Number(perSecond), "rows"))),
    told(figures.attempts, (attempts) => count(Number(attempts), "attempt")),
    told(figures.resumedAtStep, (step) => (step === 0 ? undefined : `the last from step ${count(Number(step))} on`)),
    told(figures.bytes, (amount) => bytes(Number(amount))),
    told(figures.bytesFetched, (amount) => `${bytes(Number(amount))} of it fetched`),
    told(figures.bytesSent, (amount) => `${bytes(Number(amount))} of it sent`),
    told(figures.modelFrom, (uri) => `model from ${uri}`),
    told(figures.datasetFrom, (uri) => `dataset from ${uri}`),
    told(figures.datasetFiles, (names) => `rows of ${names}`),
  ];
  return said.filter((words) => words !== undefined).join(", ");
}

/** Words for a figure that is there. */
function told<Value>(value: Value | undefined, words: (value: Value) => string | undefined): string | undefined {
  return value === undefined ? undefined : words(value);
}

/** "up to 64: 120, 128: 3,040": rows by their bin's longest. */
function histogram(lengths: Readonly<Record<string, Figure>>): string {
  const bins = Object.entries(lengths).map(([longest, rows]) => `${count(Number(longest))}: ${count(Number(rows))}`);
  return bins.length === 0 ? "none" : `up to ${bins.join(", ")}`;
}

function lossLine(losses: Figures["losses"]): string | undefined {
  const ends = lossEnds(losses);
  return ends === null ? undefined : `loss ${Number(ends.first).toFixed(3)} to ${Number(ends.last).toFixed(3)}`;
}

function perplexityLine({ base, tuned }: NonNullable<Figures["perplexity"]>, heldOut: Figures["heldOut"]): string {
  if (base === null || tuned === null) return "perplexity not measured";
  const on = heldOut === undefined ? "" : ` on ${count(Number(heldOut.rows), "held-out row")}`;
  return `perplexity ${perplexity(base)} before, ${perplexity(tuned)} after${on}`;
}

/** Four digits, or whole thousands with their commas. */
export function perplexity(value: Figure): string {
  const figure = Number(value);
  return figure >= 1000 ? count(Math.round(figure)) : figure.toPrecision(4);
}
