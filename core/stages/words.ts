import { bytes, count, percent, rate } from "../units.js";
import { LEVEL, type Ends } from "./bootstrap.js";
import { overrideWords } from "./override.js";
import type { Computing, Figure, ListEnds, StageMetrics, Trimmed } from "./metrics.js";

/** First and last of a run's losses, whole or already shortened, of those steps that have one; null when none has. */
export function lossEnds(
  losses: ListEnds | readonly (Figure | null)[] | undefined,
): { readonly first: Figure; readonly last: Figure } | null {
  if (losses === undefined) return null;
  const { first, last } = "count" in losses ? losses : endsOf(losses);
  return first == null || last == null ? null : { first, last };
}

/** First and last entry that is not null. */
function endsOf<Value>(values: readonly (Value | null)[]): { readonly first: Value | null; readonly last: Value | null } {
  const isThere = (value: Value | null): boolean => value !== null;
  return { first: values.find(isThere) ?? null, last: values.findLast(isThere) ?? null };
}

/** The gate in one or two words. */
export function gateWord({
  judged,
  passed,
  override,
}: {
  readonly judged?: boolean;
  readonly passed?: boolean;
  readonly override?: object;
}): string {
  return judged === false ? "not judged" : passed === true ? "passed" : override === undefined ? "failed" : "overridden";
}

function reasonWords({ reason }: { readonly reason?: string | undefined }): string {
  return reason === undefined ? "" : ` (${reason})`;
}

/** That latest.json names another model, and why if that is known. */
export function latestStays(reason: string | null | undefined): string {
  return `latest.json STAYS${reason == null ? "" : `, because ${reason}`}`;
}

type EveryMetric = StageMetrics["download"] &
  StageMetrics["preprocess"] &
  StageMetrics["train"] &
  StageMetrics["evaluate"] &
  StageMetrics["publish"];

/** What any stage may tell of itself, whole or as it came through Temporal. */
export type Figures = Partial<Trimmed<EveryMetric>>;

/** Whether a published model is live, in the words of the place. */
function liveWords(live: boolean, target: string | undefined, reason: string | null | undefined): string {
  const isHub = target?.startsWith("hf://") === true;
  if (live) return isHub ? "main holds it" : "latest.json names it";
  const stays = latestStays(reason);
  return isHub ? stays.replace("latest.json", "main") : stays;
}

/** A stage's figures for a reader, in one line: what is there, in this order. */
export function metricWords(figures: Figures): string {
  const { cutAt, heldOut } = figures;
  const said = [
    numbered(figures.goodput, (share) => `${percent(share)} of the time useful`),
    figures.proof,
    numbered(figures.steps, (steps) => count(steps, "step")),
    phrase(figures.computed, computedWords),
    lossLine(figures.losses),
    phrase(figures.perplexity, (measured) => perplexityLine(measured, heldOut)),
    phrase(figures.gate, (gate) => `gate ${gateWord(gate)}${figures.latest === undefined ? reasonWords(gate) : ""}`),
    numbered(figures.samples, (samples) => `${count(samples, "answer")} to read`),
    phrase(figures.target, (target) => `to ${target}`),
    phrase(figures.version, (name) => `as ${name}`),
    phrase(figures.latest, (moved) => liveWords(moved, figures.target, figures.reason)),
    phrase(figures.override, (override) => `the gate ${overrideWords(override)}`),
    numbered(figures.objects, (objects) => count(objects, "object")),
    numbered(figures.rows, (rows) => count(rows, "row")),
    numbered(figures.trainRows, (rows) => `${count(rows)} to train on`),
    numbered(figures.testRows, (rows) => `${count(rows)} held out`),
    phrase(splitWarning(figures), (warning) => warning),
    numbered(figures.dropped, (rows) => `${count(rows)} dropped for an empty response`),
    numbered(figures.withoutLoss, (rows) => (rows === 0 ? undefined : `${count(rows)} left out because no token carries loss`)),
    numbered(figures.rejected, (rows) => `${count(rows)} rejected`),
    numbered(figures.truncated, (rows) => `${count(rows)} truncated${cutAt === undefined ? "" : ` at ${count(Number(cutAt), "token")}`}`),
    numbered(figures.duplicates, (rows) => count(rows, "duplicate")),
    numbered(figures.tokens, (tokens) => count(tokens, "token")),
    numbered(figures.lossShare, (share) => `${percent(share)} of them with loss`),
    phrase(figures.lengths, (lengths) => `rows by tokens: ${histogram(lengths)}`),
    phrase(figures.usedColumns, (names) => `columns ${names}`),
    phrase(figures.unusedColumns, (names) => `NOT USED: ${names}`),
    figures.tokenizerNote,
    numbered(figures.tokensPerSecond, (perSecond) => rate(perSecond, "tokens")),
    // nothing was left to do
    numbered(figures.rowsPerSecond, (perSecond) => (perSecond === 0 ? undefined : rate(perSecond, "rows"))),
    numbered(figures.attempts, (attempts) => count(attempts, "attempt")),
    numbered(figures.resumedAtStep, (step) => (step === 0 ? undefined : `the last from step ${count(step)} on`)),
    numbered(figures.bytes, (amount) => bytes(amount)),
    numbered(figures.bytesFetched, (amount) => `${bytes(amount)} of it fetched`),
    numbered(figures.bytesSent, (amount) => `${bytes(amount)} of it sent`),
    phrase(figures.readBack, () => "all of it read back and compared"),
    phrase(figures.modelFrom, (uri) => `model from ${uri}`),
    phrase(figures.datasetFrom, (uri) => `dataset from ${uri}`),
    figures.datasetChoice,
    phrase(figures.datasetFiles, (names) => `rows of ${names}`),
  ];
  return said.filter((words) => words !== undefined).join(", ");
}

/** "steps 1 to 3 by the engine onnx (version 1) in fp32, 4 to 8 by …": which steps were computed how. */
export function computedWords(computed: NonNullable<Figures["computed"]>): string {
  let first = 1;
  const parts = computed.map(({ steps, by }) => {
    const last = first + Number(steps) - 1;
    const words = `${first === last ? count(first) : `${count(first)} to ${count(last)}`} by ${computingWords(by)}`;
    first = last + 1;
    return words;
  });
  return `steps ${parts.join(", ")}`;
}

/** "the engine onnx (version 1) in fp32": how steps are computed. */
export function computingWords({ engine = "", engineVersion = "", ...others }: Computing): string {
  const version = engineVersion === "" ? "" : ` (version ${engineVersion})`;
  return [`the engine ${engine}${version}`, ...Object.values(others)].join(" in ");
}

/** A loud word if a run holds more rows out than it trains on; undefined if not. */
export function splitWarning({ trainRows, testRows }: Pick<Figures, "trainRows" | "testRows">): string | undefined {
  if (trainRows === undefined || testRows === undefined || Number(testRows) <= Number(trainRows)) return undefined;
  return `WARNING: MORE ROWS ARE HELD OUT (${count(Number(testRows))}) THAN TRAINED ON (${count(Number(trainRows))}): lower preprocess.testRows`;
}

/** What a user should know before training begins: sentences about a stage's rows. */
export function warningsOf(figures: Figures): string[] {
  const unused = phrase(figures.unusedColumns, (names) => `columns with content that are not used: ${names}`);
  return [splitWarning(figures), unused, figures.tokenizerNote].filter((warning) => warning !== undefined);
}

/** Words for a number that is there, which may have come as text. */
function numbered(figure: Figure | undefined, words: (value: number) => string | undefined): string | undefined {
  return figure === undefined ? undefined : words(Number(figure));
}

/** Words for a value that is there. */
function phrase<Value>(value: Value | undefined, words: (value: Value) => string | undefined): string | undefined {
  return value === undefined ? undefined : words(value);
}

/** "up to 64: 120, 128: 3,040": rows by their bin's longest. */
function histogram(lengths: Readonly<Record<string, Figure>>): string {
  const bins = Object.entries(lengths).map(([longest, rows]) => `${count(Number(longest))}: ${count(Number(rows))}`);
  return bins.length === 0 ? "none" : `up to ${bins.join(", ")}`;
}

function lossLine(losses: Figures["losses"]): string | undefined {
  const ends = lossEnds(losses);
  if (ends === null && losses !== undefined && ("count" in losses ? losses.count : losses.length) > 0) return "no step has labels";
  return ends === null ? undefined : `loss ${Number(ends.first).toFixed(3)} to ${Number(ends.last).toFixed(3)}`;
}

function perplexityLine({ base, tuned }: NonNullable<Figures["perplexity"]>, heldOut: Figures["heldOut"]): string {
  if (base === null || tuned === null) return "perplexity not measured";
  const rows = heldOut === undefined ? "" : ` on ${count(Number(heldOut.rows), "held-out row")}`;
  return `perplexity ${perplexity(base)} before, ${perplexity(tuned)} after${rows}`;
}

/** What an interval of perplexities, or of their ratio, says: "95 % interval 4.871 to 5.493". */
export function intervalWords([low, high]: Ends): string {
  return `${LEVEL * 100} % interval ${perplexity(low)} to ${perplexity(high)}`;
}

/** What an interval of the tuned perplexity divided by the base's means. */
export function verdictWords([low, high]: Ends): string {
  return high < 1 ? "better beyond chance" : low > 1 ? "worse beyond chance" : "may be chance";
}

/** Four digits, or whole thousands with their commas. */
export function perplexity(value: Figure): string {
  const figure = Number(value);
  return figure >= 1000 ? count(Math.round(figure)) : figure.toPrecision(4);
}
