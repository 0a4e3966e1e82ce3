import type { Figure, JsonEnds, ModelName } from "../../../core/stages/figures.js";
import { MODEL_NAMES } from "../../../core/stages/figures.js";
import { verdictWords } from "../../../core/stages/words.js";
import { count, percent } from "../../../core/units.js";
import { intervalPlot, type Estimate } from "../../../infra/plots/interval-plot.js";
import { escapeMarkup } from "../../../infra/plots/markup.js";
import { columnTable, note } from "./markup.js";

const NAMES: Readonly<Record<ModelName, string>> = { base: "base", tuned: "this model", live: "live" };

/** The models side by side: every figure of an evaluation, with intervals where there are any. */
export function comparison(figures: readonly Figure[]): string {
  if (figures.length === 0) return "";
  const models = MODEL_NAMES.filter((name) => figures.some((figure) => figure[name] !== undefined));
  const others = (["base", "live"] as const).filter((name) => models.includes(name));
  const rows = figures.map((figure) => [
    `${escapeMarkup(figure.metric)}<span class="note">${count(figure.items, "item")}, ${figure.better} is better</span>`,
    ...models.map((name) => estimateCell(figure[name], figure.intervals?.[name])),
    ...others.map((other) => ratioCell(figure, other)),
    pictured(figure, models),
  ]);
  const intervals = figures.find((figure) => figure.intervals !== undefined)?.intervals;
  const words =
    intervals === undefined
      ? "There are too few items for intervals."
      : `Intervals hold ${percent(intervals.level).replace(".0 ", " ")}, by a paired bootstrap of the same items for every model (${count(intervals.resamples, "resample")}, seed ${intervals.seed}). A ratio is this model's figure divided by the other's.`;
  const legend = models.map((name) => `<span class="key dots ${toneOf(name)}">${NAMES[name]}</span>`).join(" ");
  return `<p class="keys">${legend}</p>
${columnTable("Figures of the models", ["metric", ...models.map((name) => NAMES[name]), ...others.map((other) => `ratio to ${NAMES[other]}`), "intervals"], rows)}
${note(words)}`;
}

function estimateCell(value: number | null | undefined, ends: JsonEnds | undefined): string {
  if (value === undefined) return "";
  return `<b>${figureDigits(value)}</b>${ends === undefined ? "" : `<span class="note">${endsText(ends)}</span>`}`;
}

function ratioCell({ ratio, intervals, better, tuned, ...figure }: Figure, other: "base" | "live"): string {
  const value = ratio[other];
  if (value === undefined) return "";
  // nothing divided by nothing says nothing
  if (value === null && !(figure[other] === 0 && tuned !== null && tuned > 0)) return "–";
  const ends = intervals?.ratio[other];
  const words = ends === undefined || ends[0] === null ? "" : `<span class="note">${endsText(ends)}: ${verdict(ends, better)}</span>`;
  return `<b>${figureDigits(value)}</b>${words}`;
}

/** What the interval of a ratio says, where less or where more is better. */
function verdict([low, high]: JsonEnds, better: Figure["better"]): string {
  const ends = [low ?? Infinity, high ?? Infinity] as const;
  // a ratio above one is good news where more is better
  return verdictWords(better === "lower" ? ends : [1 / ends[1], 1 / ends[0]]);
}

function pictured(figure: Figure, models: readonly ModelName[]): string {
  const estimates = models.flatMap((name): Estimate[] => {
    const value = figure[name];
    const [low, high] = figure.intervals?.[name] ?? [null, null];
    return value == null ? [] : [{ name, tone: toneOf(name), value, ends: low === null || high === null ? null : [low, high] }];
  });
  const words = estimates.map(({ name, value }) => `${NAMES[name as ModelName]} ${figureDigits(value)}`);
  return intervalPlot({ description: `${figure.metric}: ${words.join(", ")}`, estimates });
}

function toneOf(name: ModelName): string {
  return name === "tuned" ? "strong" : name === "base" ? "soft" : "third";
}

function endsText([low, high]: JsonEnds): string {
  return `${figureDigits(low)} to ${figureDigits(high)}`;
}

/** Four digits; null is a figure that is not finite. */
export function figureDigits(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return "∞";
  return Math.abs(value) >= 1000 ? count(Math.round(value)) : value.toPrecision(4);
}
