import type { TokenRow } from "../../core/rows/token-rows.js";
import type { Recorded, PreprocessMetrics } from "../../core/stages/metrics.js";
import { splitWarning } from "../../core/stages/words.js";
import type { Tokenizer } from "../../core/text/tokenizer.js";
import { count, percent } from "../../core/units.js";

/** What the summary tells of. */
export interface Summarized {
  readonly rows: readonly TokenRow[];
  /** the source's files; null where an earlier version noted none */
  readonly files: readonly { readonly file: string; readonly rows: number }[] | null;
  readonly metrics: Recorded<PreprocessMetrics>;
  /** `preprocess.prompt`, for a reader; null where it is not recorded */
  readonly prompt: string | null;
  /** what ends an answer; null: rows of tokens, and the model has no tokenizer */
  readonly stop: string | null;
  readonly tokenizer: Tokenizer | null;
  /** ids of special tokens by what they are for */
  readonly special: Readonly<Record<string, readonly number[]>>;
  /** why rows were rejected */
  readonly reasons: readonly string[];
}

/** Files, and reasons, that are listed; of more the number is told. */
const LISTED = 10;
/** Characters of the example. */
const EXAMPLE = 1000;

/** What the tokenized rows are, in lines for a reader, before they are trained on. */
export function summaryLines({ rows, files, metrics, prompt, stop, tokenizer, special, reasons }: Summarized): string[] {
  const { trainRows, testRows, dropped, rejected, withoutLoss, truncated, cutAt, usedColumns, unusedColumns, tokenizerNote, lossShare } =
    metrics;
  const fate = [
    [trainRows, "to train on"],
    [testRows, "held out"],
    [dropped, "dropped for an empty response"],
    [withoutLoss, "left out because no token carries loss"],
    [rejected, "rejected"],
    [truncated, `cut at ${count(cutAt ?? 0, "token")}`],
  ] as const;
  const told = fate.flatMap(([number, what]) => (number === undefined ? [] : [`${count(number)} ${what}`]));
  const warning = splitWarning(metrics);
  const example = rows[0];
  return [
    ...listed(
      (files ?? []).map((one) => `  ${one.file}: ${count(one.rows, "row")}`),
      "source files",
    ),
    ...(usedColumns === undefined ? [] : [`columns: ${usedColumns}`]),
    ...(unusedColumns === undefined ? [] : [`COLUMNS WITH CONTENT THAT ARE NOT USED: ${unusedColumns}`]),
    ...(tokenizerNote === undefined ? [] : [tokenizerNote]),
    ...(prompt === null
      ? []
      : [`prompt: ${prompt}${stop === null ? "" : `; an answer ends with ${stop === "" ? "EOS" : JSON.stringify(stop)}`}`]),
    ...(metrics.rows === undefined ? [] : [`${count(metrics.rows, "row")}: ${told.join(", ")}`]),
    ...(warning === undefined ? [] : [warning]),
    ...listed(tally(reasons), "reasons of rejections"),
    `tokens a row: ${spread(rows.map(({ inputIds }) => inputIds.length))}${lossShare === undefined ? "" : `; ${percent(lossShare)} of them carry loss`}`,
    ...Object.entries(special).map(([name, ids]) => {
      const counts = rows.map(({ inputIds }) => inputIds.reduce((sum, id) => (ids.includes(id) ? sum + 1 : sum), 0));
      return `${name} (${ids.map((id) => tokenName(id, tokenizer)).join(", ")}) a row: ${spread(counts)}`;
    }),
    ...(example === undefined || tokenizer === null
      ? []
      : [`row ${example.source} as it is: ${JSON.stringify(tokenizer.decode(example.inputIds)).slice(0, EXAMPLE)}`]),
  ];
}

function tokenName(id: number, tokenizer: Tokenizer | null): string {
  const text = tokenizer?.decode([id]) ?? "";
  return `id ${id}${text === "" ? "" : ` ${JSON.stringify(text)}`}`;
}

function spread(values: readonly number[]): string {
  if (values.length === 0) return "no rows";
  const sorted = [...values].sort((a, b) => a - b);
  return `${count(sorted[0]!)} at least, ${count(sorted[Math.floor(sorted.length / 2)]!)} in the middle, ${count(sorted.at(-1)!)} at most`;
}

function listed(lines: readonly string[], what: string): string[] {
  if (lines.length === 0) return [];
  const more = lines.length - LISTED;
  return [`${what}:`, ...lines.slice(0, LISTED), ...(more > 0 ? [`  and ${count(more)} more`] : [])];
}

/** "  3 x reason", the most frequent first. */
function tally(reasons: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).map(([reason, times]) => `  ${count(times)} x ${reason}`);
}
