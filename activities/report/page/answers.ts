import { escapeMarkup } from "../../../infra/plots/markup.js";
import type { Sample } from "../../evaluate/samples.js";
import { folded } from "./markup.js";

/** Answers that stand on the page at once; the others are folded. */
const SHOWN = 3;

/** Both models' answers side by side. */
export function answers(samples: readonly Sample[]): string {
  if (samples.length === 0) return "<p>No answers were generated.</p>";
  const cards = samples.map(sampleCard);
  const rest = cards.slice(SHOWN);
  return [...cards.slice(0, SHOWN), ...(rest.length === 0 ? [] : [folded(`${rest.length} more`, rest.join("\n"))])].join("\n");
}

function sampleCard({ kind, row, system, instruction, input, prompt, expected, base, tuned, drawn }: Sample): string {
  const answer = (name: string, said: Said, of: string): string =>
    `<div class="answer ${of}"><h3>${name}</h3>${foldable(textOf(said))}</div>`;
  const sides = [
    ...(expected === undefined ? [] : [answer("Expected", expected, "expected")]),
    answer("Before", base, "before"),
    answer("After", tuned, "after"),
  ];
  const sampled =
    drawn === undefined
      ? ""
      : `<div class="answers">${answer("Before, drawn", drawn.base, "before")}${answer("After, drawn", drawn.tuned, "after")}</div>`;
  return `<article>${system === undefined ? "" : `\n<p class="input">${marked(textOf(system))}</p>`}
<p class="request">${marked(textOf(instruction ?? prompt))}</p>${input === undefined ? "" : `\n<p class="input">${marked(textOf(input))}</p>`}
<div class="answers">${sides.join("")}</div>${sampled}
<p class="note">${kind === "own" ? "own prompt" : kind === "dolly" ? "Dolly's example" : `held-out row ${row}`}</p>
</article>`;
}

/** Text, or token ids when the model has no tokenizer. */
type Said = string | readonly number[];

function textOf(said: Said): string {
  return (typeof said === "string" ? said : said.join(" ")).trim();
}

function marked(text: string): string {
  return text === "" ? "<i>(nothing)</i>" : escapeMarkup(text);
}

/** Characters that fit into eight lines, however narrow the column and wide the letters. */
const SURELY_SHORT = 64;

/**
 * A paragraph that is folded after eight lines. Only the browser knows how many lines a text takes, so the style shows the
 * control, and folds, if it takes more; a text that is surely short has no control to begin with.
 */
function foldable(text: string): string {
  const paragraph = `<p>${marked(text)}</p>`;
  if (text.length <= SURELY_SHORT && text.split("\n").length <= 8) return paragraph;
  const words = `<span class="more">Show all</span><span class="less">Show less</span>`;
  const control = `<label><input type="checkbox" aria-label="Show all of this answer">${words}</label>`;
  return `<div class="fold">${paragraph}<div class="lines">${control}</div></div>`;
}
