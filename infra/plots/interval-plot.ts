import { linearAxis } from "./axis.js";
import { element, percentText } from "./markup.js";

/** A value with the ends of its interval; null: there is none. */
export interface Estimate {
  readonly name: string;
  /** class of its colour */
  readonly tone: string;
  readonly value: number;
  readonly ends: readonly [low: number, high: number] | null;
}

/** Pixels from one estimate to the next. */
const ROW = 16;

/** Values one below the other on one axis, each with its interval; empty without any value. */
export function intervalPlot({
  description,
  estimates,
}: {
  readonly description: string;
  readonly estimates: readonly Estimate[];
}): string {
  if (estimates.length === 0) return "";
  const ends = estimates.flatMap(({ value, ends }) => [value, ...(ends ?? [])]).filter(Number.isFinite);
  const axis = linearAxis(Math.min(...ends), Math.max(...ends), { exact: true });
  // room for the dots at both ends
  const at = (value: number): string => percentText(0.03 + 0.94 * Math.min(1, Math.max(0, axis.at(value))));
  const rows = estimates.map(({ tone, value, ends }, index) => {
    const y = ROW * (index + 0.5);
    const whisker = ends === null ? "" : element("line", { class: `whisker ${tone}`, x1: at(ends[0]), x2: at(ends[1]), y1: y, y2: y });
    return `${whisker}${element("circle", { class: `estimate ${tone}`, cx: at(value), cy: y, r: 4.5 })}`;
  });
  return element("svg", { class: "intervals", role: "img", "aria-label": description, height: ROW * estimates.length }, ...rows);
}
