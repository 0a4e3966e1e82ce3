import type { Metrics } from "./stage.js";
import { bytes, count, percent, rate } from "../units.js";

/** A figure; an infinite one comes through Temporal as text. */
type Figure = number | string;

/** The ends of a run's losses; a result that went through Temporal has no more of them. */
export interface Losses {
  readonly count: number;
  readonly first: Figure;
  readonly last: Figure;
}

/** First and last of a run's losses, whole or already shortened; null when there are none. */
export function lossEnds(losses: Losses | readonly number[] | undefined): Losses | null {
  if (losses === undefined || "count" in losses) return losses ?? null;
  return losses.length === 0 ? null : { count: losses.length, first: losses[0]!, last: losses.at(-1)! };
}

/** The gate in one or two words. */
export function gateWord({ judged, passed }: { readonly judged?: boolean; readonly passed?: boolean }): string {
  return judged === false ? "not judged" : passed === true ? "passed" : "failed";
}

/** What a reader is told of a stage's figures, in this order. */
const SAID: readonly (readonly [name: string, say: (value: never, all: Metrics) => string | null])[] = [
  ["goodput", (share: Figure) => `${percent(Number(share))} of the time useful`],
  ["proof", (line: string) => line],
  ["steps", (steps: number) => count(steps, "step")],
  ["losses", (losses: Losses) => lossLine(lossEnds(losses))],
  ["perplexity", perplexityLine],
  ["gate", (gate: Parameters<typeof gateWord>[0]) => `gate ${gateWord(gate)}`],
  ["samples", (samples: number) => `${count(samples, "answer")} to read`],
  ["target", (target: string) => `to ${target}`],
  ["version", (name: string) => `as ${name}`],
  ["latest", (moved: boolean) => (moved ? "latest.json names it" : "latest.json stays")],
  ["objects", (objects: number) => count(objects, "object")],
  ["rows", (rows: number) => count(rows, "row")],
  ["trainRows", (rows: number) => `${count(rows)} to train on`],
  ["testRows", (rows: number) => `${count(rows)} held out`],
  ["dropped", (rows: number) => `${count(rows)} dropped for an empty response`],
  ["rejected", (rows: number) => `${count(rows)} rejected`],
  ["truncated", (rows: number, { cutAt }) => `${count(rows)} truncated${typeof cutAt === "number" ? ` at ${count(cutAt, "token")}` : ""}`],
  ["duplicates", (rows: number) => count(rows, "duplicate")],
  ["tokens", (tokens: number) => count(tokens, "token")],
  ["lossShare", (share: Figure) => `${percent(Number(share))} of them with loss`],
  ["lengths", (lengths: Readonly<Record<string, number>>) => `rows by tokens: ${histogram(lengths)}`],
  ["tokensPerSecond", (perSecond: Figure) => rate(Number(perSecond), "tokens")],
  // nothing was left to do
  ["rowsPerSecond", (perSecond: Figure) => (perSecond === 0 ? null : rate(Number(perSecond), "rows"))],
  ["attempts", (attempts: number) => count(attempts, "attempt")],
  ["resumedAtStep", (step: number) => (step === 0 ? null : `the last from step ${count(step)} on`)],
  ["bytes", (amount: number) => bytes(amount)],
  ["bytesFetched", (amount: number) => `${bytes(amount)} of it fetched`],
  ["bytesSent", (amount: number) => `${bytes(amount)} of it sent`],
  ["modelFrom", (uri: string) => `model from ${uri}`],
  ["datasetFrom", (uri: string) => `dataset from ${uri}`],
  ["datasetFiles", (names: string) => `rows of ${names}`],
];

/** A stage's figures for a reader, in one line. */
export function metricWords(metrics: Metrics): string {
  return SAID.flatMap(([name, say]) => {
    const value = metrics[name];
    const said = value === undefined ? null : say(value as never, metrics);
    return said === null ? [] : [said];
  }).join(", ");
}

/** "up to 64: 120, 128: 3,040": rows by their bin's longest. */
function histogram(lengths: Readonly<Record<string, number>>): string {
  const bins = Object.entries(lengths).map(([longest, rows]) => `${count(Number(longest))}: ${count(rows)}`);
  return bins.length === 0 ? "none" : `up to ${bins.join(", ")}`;
}

function lossLine(losses: Losses | null): string | null {
  return losses === null ? null : `loss ${Number(losses.first).toFixed(3)} to ${Number(losses.last).toFixed(3)}`;
}

function perplexityLine({ base, tuned }: { readonly base: Figure | null; readonly tuned: Figure | null }, { heldOut }: Metrics): string {
  if (base === null || tuned === null) return "perplexity not measured";
  const { rows } = (heldOut ?? {}) as { readonly rows?: number };
  return `perplexity ${perplexity(base)} before, ${perplexity(tuned)} after${rows === undefined ? "" : ` on ${count(rows, "held-out row")}`}`;
}

/** Four digits, or whole thousands with their commas. */
export function perplexity(value: Figure): string {
  const figure = Number(value);
  return figure >= 1000 ? count(Math.round(figure)) : figure.toPrecision(4);
}
