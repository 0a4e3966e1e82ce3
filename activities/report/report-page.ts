import { count } from "../../core/units.js";
import { lossChart } from "./loss-chart.js";
import { consequenceOf, facts, gateWords, type Story } from "./story.js";
import type { Sample } from "../evaluate/samples.js";

/** report.html: a run on one page that needs nothing beside it. */
export function reportPage(story: Story): string {
  const { title, evaluation, losses, descent } = story;
  const { perplexity, gate, samples } = evaluation;
  const figure = (name: string, value: string): string => `<div class="figure"><b>${escape(value)}</b><span>${escape(name)}</span></div>`;
  const number = (value: number | null | undefined, digits: number): string => (value == null ? "–" : value.toFixed(digits));
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
<p class="gate ${gate.passed ? "open" : "shut"}">Gate ${escape(gateWords(gate))}</p>
</header>
<section class="figures">
${figure("perplexity of the base", number(perplexity.base, 2))}
${figure("perplexity of this model", number(perplexity.tuned, 2))}
${figure("first loss", number(losses[0], 3))}
${figure("last loss", number(losses.at(-1), 3))}
${figure("steps", count(losses.length))}
</section>
<section>
<h2>Training loss</h2>
${lossChart(losses)}
<p class="note">Each dot is the mean loss of a step's labels; the line is their running mean.</p>
</section>
<section>
<h2>Answers to held-out rows</h2>
${samples.length === 0 ? "<p>No row was held out to ask about.</p>" : samples.map(sampleCard).join("\n")}
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

function sampleCard({ row, instruction, input, prompt, expected, base, tuned }: Sample): string {
  const say = (said: string | readonly number[]): string => {
    const text = typeof said === "string" ? said : said.join(" ");
    return text.trim() === "" ? "<i>(nothing)</i>" : escape(text.trim());
  };
  const answer = (name: string, said: string | readonly number[], kind: string): string =>
    `<div class="answer ${kind}"><h3>${name}</h3><p>${say(said)}</p></div>`;
  return `<article>
<p class="request">${say(instruction ?? prompt)}</p>${input === undefined ? "" : `\n<p class="input">${say(input)}</p>`}
<div class="answers">${answer("Expected", expected, "expected")}${answer("Before", base, "before")}${answer("After", tuned, "after")}</div>
<p class="note">row ${row}</p>
</article>`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

const STYLE = `
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #fff; --ink: #22252b; --soft: #6b7079; --rule: #e4e1d8; --accent: #2f6f5e; --dot: #9fc3b8; --bad: #a8432f; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --card: #1e2125; --ink: #e6e4de; --soft: #9aa0a8; --rule: #31353b; --accent: #6fc2a8; --dot: #3f6f62; --bad: #e08a76; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 780px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { margin: 0 0 12px; font-size: 30px; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 44px 0 14px; font-size: 20px; }
.kicker { margin: 0 0 6px; color: var(--soft); font-size: 14px; }
.gate { display: inline-block; margin: 0; padding: 3px 12px; border-radius: 99px; border: 1px solid; font-size: 14px; }
.gate.open { color: var(--accent); } .gate.shut { color: var(--bad); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 12px; margin-top: 28px; }
.figure { padding: 14px 16px; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.figure b { display: block; font-size: 24px; font-variant-numeric: tabular-nums; }
.figure span { color: var(--soft); font-size: 13px; }
svg { width: 100%; height: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.grid { stroke: var(--rule); } .tick { fill: var(--soft); font: 12px system-ui, sans-serif; }
.dot { fill: var(--dot); } .line { fill: none; stroke: var(--accent); stroke-width: 2.2; stroke-linejoin: round; }
article { margin: 0 0 16px; padding: 16px 18px 10px; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
article p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.request { font-weight: 600; } .input { margin-top: 6px !important; color: var(--soft); }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px; margin: 14px 0 8px; }
.answer { padding-left: 12px; border-left: 3px solid var(--rule); font-size: 15px; } .answer.after { border-color: var(--accent); }
.answer h3 { margin: 0 0 2px; color: var(--soft); font-size: 12px; font-weight: 600; }
table { width: 100%; border-collapse: collapse; } th, td { padding: 7px 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { width: 34%; padding-right: 16px; color: var(--soft); font-weight: 400; }
.note { margin: 10px 0 0; color: var(--soft); font-size: 13px; }
`;
