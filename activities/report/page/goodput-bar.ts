import type { Ledger } from "../../../core/stages/ledger.js";
import { count, duration, percent } from "../../../core/units.js";
import { element, escapeMarkup, percentText } from "../../../infra/plots/markup.js";
import { proofLine, timeLine } from "../../train/log/ledger-words.js";
import { columnTable, note } from "./markup.js";

/** Where training's time went, and what interrupted it. */
export function goodputBar(ledger: Ledger): string {
  const { wallSeconds, usefulSeconds, startSeconds, saveSeconds, lostSeconds, stoppedSeconds, interruptions } = ledger;
  const parts = [
    ["useful", usefulSeconds, "strong"],
    ["start", startSeconds, "soft"],
    ["lost to failures", lostSeconds, "bad"],
    ["stopped", stoppedSeconds, "third"],
    ["saving the end", saveSeconds, "faint"],
  ] as const;
  const there = parts.filter(([, seconds]) => seconds > 0);
  let from = 0;
  const bars = there.map(([name, seconds, tone]) => {
    const [x, width] = [percentText(from / wallSeconds), percentText(seconds / wallSeconds)];
    from += seconds;
    return element(
      "rect",
      { class: `part ${tone}`, x, width, y: 0, height: "100%" },
      element("title", {}, escapeMarkup(`${name}: ${duration(seconds)}`)),
    );
  });
  const words = there.map(([name, seconds]) => `${name} ${percent(seconds / wallSeconds)}`).join(", ");
  const bar = element("svg", { class: "shares", role: "img", "aria-label": `Time of training: ${words}` }, ...bars);
  const legend = there
    .map(([name, seconds, tone]) => `<span class="key dots ${tone}">${name} ${percent(seconds / wallSeconds)}</span>`)
    .join(" ");
  const rows = interruptions.map(({ afterStep, what, seconds, stepsLost }) => [
    count(afterStep),
    escapeMarkup(what),
    duration(seconds),
    count(stepsLost),
  ]);
  const table =
    rows.length === 0
      ? ""
      : columnTable("What interrupted training", ["steps kept", "what happened", "time until steps went on", "steps done again"], rows);
  return `${bar}
<p class="keys">${legend}</p>
<p>${escapeMarkup(timeLine(ledger))}.</p>
${table}
${note(`From training's own records: ${proofLine(ledger)}.`)}`;
}
