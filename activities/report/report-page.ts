import { count } from "../../core/units.js";
import { lossChart } from "./loss-chart.js";
import { lossEnds } from "../../core/stages/words.js";
import { consequenceOf, facts, gateWords, type Story } from "./story.js";
import { STYLE } from "./report-style.js";
import { perplexityIn } from "../evaluate/evaluation.js";
import type { Sample } from "../evaluate/samples.js";

/** report.html: a run on one page that needs no other file and no script. */
export function reportPage(story: Story): string {
  const { title, evaluation, losses, descent } = story;
  const { gate, samples } = evaluation;
  const perplexity = perplexityIn(evaluation);
  const ends = lossEnds(losses);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<header>
<p class="kicker">Roslin · fine-tuning report</p>
<h1>${escape(title)}</h1>
<p class="gate ${gate.passed ? "open" : "shut"}">Gate ${escape(gateWords(evaluation))}</p>
</header>
${tiles([
  ["perplexity of the base", figureText(perplexity.base, 2)],
  ["perplexity of this model", figureText(perplexity.tuned, 2)],
  ["first loss", figureText(ends === null ? null : Number(ends.first), 3)],
  ["last loss", figureText(ends === null ? null : Number(ends.last), 3)],
  ["steps", count(losses.length)],
])}
<section>
<h2>Training loss</h2>
${lossChart(losses)}
<p class="note">Each dot is the mean loss of a step's labels; the line is the running mean of the dots.${losses.includes(null) ? " A gap is a step whose rows have no label: it has no loss and updated nothing." : ""}</p>
</section>
<section>
<h2>Answers to held-out rows</h2>
${samples.length === 0 ? "<p>No answers were generated.</p>" : samples.map(sampleCard).join("\n")}
</section>
<section>
<h2>The run</h2>
<table>
${facts(story)
  .map(([name, value]) => `<tr><th>${escape(name)}</th><td>${escape(value)}</td></tr>`)
  .join("\n")}
</table>
<p class="note">${escape(consequenceOf(descent.licence).replaceAll("**", ""))}</p>
</section>
</main>
</body>
</html>
`;
}

/** A figure as people read it: "0.693", "25,431", "1.23e12", "infinite"; "–" when there is none. Below 1,000 it has `digits` decimals. */
export function figureText(value: number | null | undefined, digits: number): string {
  if (value == null) return "–";
  if (value === Infinity) return "infinite";
  if (value >= 1e10) return value.toPrecision(3).replace("e+", "e");
  const short = value.toFixed(digits);
  return Number(short) < 1000 ? short : count(Math.round(value));
}

/** Figures side by side; the longest one says how wide a tile must be. */
function tiles(figures: readonly (readonly [name: string, value: string])[]): string {
  const longest = Math.max(...figures.map(([, value]) => value.length));
  const tile = ([name, value]: (typeof figures)[number]): string =>
    `<div class="figure"><b>${escape(value)}</b><span>${escape(name)}</span></div>`;
  return `<section class="figures" style="--longest: ${longest}">\n${figures.map(tile).join("\n")}\n</section>`;
}

function sampleCard({ kind, row, system, instruction, input, prompt, expected, base, tuned }: Sample): string {
  const answer = (name: string, said: Said, kind: string): string =>
    `<div class="answer ${kind}"><h3>${name}</h3>${foldable(textOf(said))}</div>`;
  return `<article>${system === undefined ? "" : `\n<p class="input">${marked(textOf(system))}</p>`}
<p class="request">${marked(textOf(instruction ?? prompt))}</p>${input === undefined ? "" : `\n<p class="input">${marked(textOf(input))}</p>`}
<div class="answers">${expected === undefined ? "" : answer("Expected", expected, "expected")}${answer("Before", base, "before")}${answer("After", tuned, "after")}</div>
<p class="note">${kind === "own" ? "own prompt" : kind === "dolly" ? "Dolly's example" : `row ${row}`}</p>
</article>`;
}

/** Text, or token ids when the model has no tokenizer. */
type Said = string | readonly number[];

function textOf(said: Said): string {
  return (typeof said === "string" ? said : said.join(" ")).trim();
}

function marked(text: string): string {
  return text === "" ? "<i>(nothing)</i>" : escape(text);
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

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
