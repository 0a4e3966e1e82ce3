import { line } from "d3-shape";
import { linearAxis, xAxis, yAxis, type Axis } from "./axis.js";
import { element, escapeMarkup, percentText } from "./markup.js";
import { thinned, type Point } from "./series.js";

/**
 * Lines and dots as SVG that fits any width: the curves lie in a box that is stretched, and texts beside it that are not.
 * Colours are classes of the page. The points are in the markup as well, for the page's script.
 */

/** Numbers over steps, drawn in one way. */
export interface Series {
  readonly name: string;
  readonly kind: "dots" | "line" | "dotted line";
  /** class of its colour */
  readonly tone: string;
  readonly points: readonly Point[];
}

/** Something that happened after a step. */
export interface Mark {
  readonly kind: "failure" | "stop";
  /** steps that were kept: where it was gone on from */
  readonly kept: number;
  /** steps done when it happened; those beyond the kept ones were done again */
  readonly done: number;
  /** what happened, in a sentence */
  readonly text: string;
}

/** A plot of series over steps. */
export interface LinePlot {
  /** unique on the page, made of letters and dashes */
  readonly id: string;
  readonly title: string;
  /** what a reader who cannot see it should know */
  readonly description: string;
  readonly unit: string;
  /** steps on the horizontal axis */
  readonly steps: number;
  readonly series: readonly Series[];
  readonly marks: readonly Mark[];
}

/** Points drawn of a series at most. */
const MOST = 1200;
/** Length of each side of the box that is stretched. */
const SIDE = 1000;

/** The plot's markup; empty without any value. */
export function linePlot(plot: LinePlot): string {
  const series = plot.series.map((each) => ({ ...each, points: thinned(each.points, MOST) }));
  const values = series.flatMap(({ points }) => points.flatMap(([, value]) => value ?? []));
  if (values.length === 0) return "";
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  const x = linearAxis(1, plot.steps, { exact: true, whole: true });
  const y = linearAxis(low, high);
  const title = `${plot.id}-title`;
  const description = `${plot.id}-description`;
  const svg = element(
    "svg",
    { class: "area", role: "img", "aria-labelledby": `${title} ${description}` },
    element("title", { id: title }, escapeMarkup(plot.title)),
    element("desc", { id: description }, escapeMarkup(plot.description)),
    `<g class="axes">${yAxis(y)}${xAxis(x)}</g>`,
    element(
      "svg",
      { class: "curves", width: "100%", height: "100%", viewBox: `0 0 ${SIDE} ${SIDE}`, preserveAspectRatio: "none" },
      ...plot.marks.map((mark) => markLines(mark, x)),
      ...series.map((each) => curve(each, x, y)),
    ),
    `<g class="marks">${plot.marks.map((mark) => markSign(mark, x)).join("")}</g>`,
  );
  const data = series.map(({ name, tone, points }) => ({
    name,
    tone,
    x: points.map(([at]) => at),
    y: points.map(([, value]) => rounded(value)),
  }));
  const happened = plot.marks.map(({ done, text }) => [done, text]);
  return element(
    "div",
    {
      class: "plot",
      id: plot.id,
      "data-unit": plot.unit,
      "data-x": x.domain.join(" "),
      "data-y": y.domain.join(" "),
      "data-series": JSON.stringify(data),
      "data-marks": JSON.stringify(happened),
    },
    svg,
  );
}

/** Six digits, which is more than a plot shows. */
function rounded(value: number | null): number | null {
  return value === null ? null : Number(value.toPrecision(6));
}

function curve({ kind, tone, points }: Series, x: Axis, y: Axis): string {
  const at = ([step, value]: Point): [number, number] => [x.at(step) * SIDE, (1 - y.at(value!)) * SIDE];
  const there = points.filter(([, value]) => value !== null);
  // lines without length, whose round ends are not stretched
  const dots = element("path", { class: `dots ${tone}`, d: there.map((point) => `M${at(point).map(short).join(" ")}h0`).join("") });
  if (kind === "dots") return dots;
  const path = line<Point>()
    .digits(1)
    .defined(([, value]) => value !== null)
    .x((point) => at(point)[0])
    .y((point) => at(point)[1])([...points]);
  const drawn = element("path", { class: `line ${tone}`, d: path ?? "" });
  return kind === "line" ? drawn : drawn + dots;
}

function short(value: number): number {
  return Number(value.toFixed(1));
}

/** The steps that were done again as a band, and a line where it was gone on. */
function markLines({ kind, kept, done }: Mark, x: Axis): string {
  const [from, to] = [x.at(kept) * SIDE, x.at(done) * SIDE].map((value) => short(Math.max(0, value))) as [number, number];
  const band = to > from ? element("path", { class: "again", d: `M${from} 0H${to}V${SIDE}H${from}Z` }) : "";
  return `${band}${element("path", { class: `resume ${kind}`, d: `M${from} 0V${SIDE}` })}`;
}

/** A cross on the axis where something failed, two bars where it stopped, and a triangle where it was gone on, if that is elsewhere. */
function markSign({ kind, kept, done, text }: Mark, x: Axis): string {
  const sign = (step: number, name: string, shape: string, words: string): string =>
    element(
      "svg",
      { class: `sign ${name}`, x: percentText(Math.max(0, x.at(step))), y: "100%", "data-at": step },
      element("path", { d: shape }),
      element("title", {}, escapeMarkup(words)),
    );
  const ended = kind === "failure" ? "M-4 -4L4 4M4 -4L-4 4" : "M-2 -4V4M2 -4V4";
  const resumed = done === kept ? "" : sign(kept, "resume", "M-3 -4L4 0L-3 4Z", `gone on after step ${kept}`);
  return sign(done, kind, ended, text) + resumed;
}
