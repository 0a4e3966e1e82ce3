import { count } from "../../../core/units.js";
import { escapeMarkup } from "../../../infra/plots/markup.js";

/** The parts that pages are made of. Every text that comes from a run is escaped here. */

/** A section under its heading; nothing without content. */
export function section(heading: string, ...content: readonly string[]): string {
  const there = content.filter((part) => part !== "");
  return there.length === 0 ? "" : `<section>\n<h2>${escapeMarkup(heading)}</h2>\n${there.join("\n")}\n</section>`;
}

/** A paragraph that explains. */
export function note(text: string): string {
  return `<p class="note">${escapeMarkup(text)}</p>`;
}

/** Rows of name and value. */
export function nameTable(rows: readonly (readonly [name: string, value: string])[]): string {
  const line = ([name, value]: (typeof rows)[number]): string =>
    `<tr><th scope="row">${escapeMarkup(name)}</th><td>${escapeMarkup(value)}</td></tr>`;
  return rows.length === 0 ? "" : `<table class="names">\n${rows.map(line).join("\n")}\n</table>`;
}

/** A table under its columns' names; the first cell of a row is its name, and cells are markup. Wide ones scroll. */
export function columnTable(label: string, columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const head = columns.map((name) => `<th scope="col">${escapeMarkup(name)}</th>`).join("");
  const line = ([name = "", ...cells]: readonly string[]): string =>
    `<tr><th scope="row">${name}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  return `<div class="wide" role="region" aria-label="${escapeMarkup(label)}" tabindex="0"><table>
<thead><tr>${head}</tr></thead>
<tbody>
${rows.map(line).join("\n")}
</tbody>
</table></div>`;
}

/** What a reader unfolds. */
export function folded(summary: string, content: string): string {
  return `<details><summary>${escapeMarkup(summary)}</summary>\n${content}\n</details>`;
}

/** Figures side by side; the longest one says how wide a tile must be, by a class of the page's style. */
export function tiles(figures: readonly (readonly [name: string, value: string])[]): string {
  const tile = ([name, value]: (typeof figures)[number]): string =>
    `<div class="figure"><b>${escapeMarkup(value)}</b><span>${escapeMarkup(name)}</span></div>`;
  return `<section class="figures longest-${longestOf(figures)}" aria-label="Figures">\n${figures.map(tile).join("\n")}\n</section>`;
}

/** Characters of the longest tile's figure. */
function longestOf(figures: readonly (readonly [name: string, value: string])[]): number {
  return Math.max(...figures.map(([, value]) => value.length));
}

/** A figure as people read it: "0.693", "25,431", "1.23e12", "infinite"; "–" when there is none. Below 1,000 it has `digits` decimals. */
export function figureText(value: number | null | undefined, digits: number): string {
  if (value == null) return "–";
  if (value === Infinity) return "infinite";
  if (value >= 1e10) return value.toPrecision(3).replace("e+", "e");
  const short = value.toFixed(digits);
  return Number(short) < 1000 ? short : count(Math.round(value));
}
