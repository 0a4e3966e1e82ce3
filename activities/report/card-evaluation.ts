import type { Figure, JsonEnds } from "../../core/stages/figures.js";
import { count, shortFigure } from "../../core/units.js";
import { gateWords, type Story } from "./story.js";

/** What the evaluation found, as text of a card: every figure of each model, and what the gate made of them. */
export function evaluationSection({ evaluation, override }: Story): string {
  const { figures = [] } = evaluation;
  // a person's reason for an override may have several lines
  const gate = `Gate: ${gateWords(evaluation, override).replace(/\s+/g, " ")}.`;
  if (figures.length === 0) return gate;
  const hasLive = figures.some(({ live }) => live !== undefined);
  const heads = [
    "figure",
    "better",
    "items",
    "base",
    "this model",
    ...(hasLive ? ["live"] : []),
    "this model / base",
    ...(hasLive ? ["this model / live"] : []),
  ];
  const rows = figures.map((figure) => rowOf(figure, hasLive));
  const intervals = figures.find((figure) => figure.intervals !== undefined)?.intervals;
  const note =
    intervals === undefined
      ? ""
      : `\n\nIn brackets: ${Math.round(intervals.level * 100)} % intervals by a bootstrap over the items, ${count(intervals.resamples, "resample")}, seed ${intervals.seed}; the same resamples for all models, so quotients are of equal items.`;
  return `| ${heads.join(" | ")} |\n|${heads.map(() => "---|").join("")}\n${rows.map((row) => `| ${row.join(" | ")} |`).join("\n")}${note}\n\n${gate}`;
}

function rowOf({ metric, better, items, base, tuned, live, ratio, intervals }: Figure, hasLive: boolean): string[] {
  return [
    metric,
    better,
    count(items),
    cell(base, intervals?.base),
    cell(tuned, intervals?.tuned),
    ...(hasLive ? [live === undefined ? "" : cell(live, intervals?.live)] : []),
    cell(ratio.base, intervals?.ratio.base),
    ...(hasLive ? [ratio.live === undefined ? "" : cell(ratio.live, intervals?.ratio.live)] : []),
  ];
}

function cell(value: number | null, ends?: JsonEnds): string {
  const text = shortFigure;
  return ends === undefined ? text(value) : `${text(value)} (${text(ends[0])} to ${text(ends[1])})`;
}
