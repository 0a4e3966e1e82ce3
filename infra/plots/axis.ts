import { scaleLinear } from "d3-scale";
import { element, percentText } from "./markup.js";

/** An axis: values from the first to the last, and round ones between to read them by. */
export interface Axis {
  readonly domain: readonly [from: number, to: number];
  readonly ticks: readonly number[];
  /** Where a value is, 0 at the first end and 1 at the last. */
  at(value: number): number;
  /** A tick as a reader sees it. */
  text(tick: number): string;
}

/** An axis that ends at round values beyond both, or just there with `exact`; `whole`: only whole numbers are ticks. */
export function linearAxis(
  low: number,
  high: number,
  { exact = false, whole = false, count = 5 }: { readonly exact?: boolean; readonly whole?: boolean; readonly count?: number } = {},
): Axis {
  // a domain of one value would have no length
  const room = high > low ? 0 : Math.abs(low) * 0.1 || 1;
  const scale = scaleLinear([low - (exact && whole ? room / 2 : room), high + room], [0, 1]);
  if (!exact) scale.nice(count);
  const [from, to] = scale.domain() as [number, number];
  const format = scale.tickFormat(count);
  const ticks = scale.ticks(count).filter((tick) => !whole || Number.isInteger(tick));
  const isTiny = Math.max(Math.abs(from), Math.abs(to)) < 1e-3;
  return {
    domain: [from, to],
    ticks: whole && ticks.length === 0 ? [low] : ticks,
    at: (value) => scale(value),
    text: (tick) => (isTiny && tick !== 0 ? Number(tick.toPrecision(12)).toExponential().replace("e-", "e−") : isTiny ? "0" : format(tick)),
  };
}

/** Lines and labels of a horizontal axis below the plot, in percent of its width. */
export function xAxis(axis: Axis): string {
  return axis.ticks
    .map((tick) => element("text", { class: "tick x", x: percentText(axis.at(tick)), y: "100%", dy: 18 }, axis.text(tick)))
    .join("");
}

/** Lines and labels of a vertical axis left of the plot, in percent of its height. */
export function yAxis(axis: Axis): string {
  return axis.ticks
    .map((tick) => {
      const y = percentText(1 - axis.at(tick));
      return `${element("line", { class: "grid", x1: 0, x2: "100%", y1: y, y2: y })}${element("text", { class: "tick y", x: -8, y, dy: 4 }, axis.text(tick))}`;
    })
    .join("");
}
