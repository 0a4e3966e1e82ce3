import { linearAxis, yAxis } from "./axis.js";
import { element, escapeMarkup, percentText } from "./markup.js";

/** One bar. */
export interface Bar {
  readonly name: string;
  readonly value: number;
  /** what stands beside the pointer */
  readonly text: string;
}

/** Bars side by side as SVG that fits any width; empty without any bar. */
export function barPlot({
  id,
  title,
  description,
  bars,
}: {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  readonly bars: readonly Bar[];
}): string {
  if (bars.length === 0) return "";
  const y = linearAxis(0, Math.max(1, ...bars.map(({ value }) => value)));
  // a phone has room for about six names
  const every = Math.ceil(bars.length / 6);
  const shapes = bars.map(({ name, value, text }, index) => {
    const [left, width] = [(index + 0.08) / bars.length, 0.84 / bars.length];
    const height = y.at(value) - y.at(0);
    const bar = element(
      "rect",
      { class: "bar", x: percentText(left), width: percentText(width), y: percentText(1 - y.at(value)), height: percentText(height) },
      element("title", {}, escapeMarkup(text)),
    );
    const label = element("text", { class: "tick x", x: percentText(left + width / 2), y: "100%", dy: 18 }, escapeMarkup(name));
    return index % every === 0 ? bar + label : bar;
  });
  return element(
    "div",
    { class: "plot still", id },
    element(
      "svg",
      { class: "area", role: "img", "aria-labelledby": `${id}-title ${id}-description` },
      element("title", { id: `${id}-title` }, escapeMarkup(title)),
      element("desc", { id: `${id}-description` }, escapeMarkup(description)),
      yAxis(y),
      ...shapes,
    ),
  );
}
