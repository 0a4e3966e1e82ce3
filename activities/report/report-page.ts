import { computedWords, lossEnds } from "../../core/stages/words.js";
import { count } from "../../core/units.js";
import { barPlot } from "../../infra/plots/bar-plot.js";
import { escapeMarkup } from "../../infra/plots/markup.js";
import { perplexityIn } from "../evaluate/evaluation.js";
import { answers } from "./page/answers.js";
import { comparison } from "./page/comparison.js";
import { curves } from "./page/curves.js";
import { pageFrame } from "./page/frame.js";
import { gateRules } from "./page/gate-rules.js";
import { goodputBar } from "./page/goodput-bar.js";
import { columnTable, figureText, folded, nameTable, note, section, tiles } from "./page/markup.js";
import { settingsOf } from "./page/settings.js";
import { consequenceOf, facts, gateWords, type ReportStory } from "./story.js";

/** report.html: a run on one page that needs no other file; the same story gives the same bytes. */
export function reportPage(story: ReportStory): string {
  const { title, evaluation, losses, descent, ledger, prepared, override } = story;
  const ends = lossEnds(losses);
  const perplexity = evaluation === null ? null : perplexityIn(evaluation);
  return pageFrame({
    title,
    kicker: "Roslin · fine-tuning report",
    body: [
      `${badge(story)}\n</header>`,
      tiles([
        ["perplexity of the base", figureText(perplexity?.base, 2)],
        ["perplexity of this model", figureText(perplexity?.tuned, 2)],
        ["first loss", figureText(ends === null ? null : Number(ends.first), 3)],
        ["last loss", figureText(ends === null ? null : Number(ends.last), 3)],
        ["steps", count(losses.length)],
      ]),
      section("Training", curves(story)),
      section(
        "This model against its base",
        evaluation === null ? "<p>Not evaluated yet.</p>" : comparison(evaluation.figures ?? []),
        evaluation === null ? "" : gateRules(evaluation, override),
      ),
      section("Answers", evaluation === null ? "<p>Not evaluated yet.</p>" : answers(evaluation.samples)),
      section("Where the time went", ledger === null || ledger.wallSeconds <= 0 ? "" : goodputBar(ledger)),
      section("Lengths of the rows", lengths(prepared?.lengths ?? {}, prepared?.cutAt)),
      section("The run", nameTable(facts(story)), descent === null ? "" : note(consequenceOf(descent.licence).replaceAll("**", ""))),
      section("Digests", nameTable(digests(story))),
      section("Settings", settings(story)),
    ],
  });
}

/** How the run stands, in one line. */
function badge({ evaluation, unfinished, override }: ReportStory): string {
  if (unfinished !== undefined) return `<p class="gate shut">${escapeMarkup(unfinished)}</p>`;
  if (evaluation === null) return "";
  return `<p class="gate ${evaluation.gate.passed ? "open" : "shut"}">Gate ${escapeMarkup(gateWords(evaluation, override))}</p>`;
}

/** The rows by their length in tokens. */
function lengths(bins: Readonly<Record<string, number>>, cutAt: number | undefined): string {
  const bars = Object.entries(bins).map(([longest, rows]) => ({
    name: count(Number(longest)),
    value: rows,
    text: `up to ${count(Number(longest), "token")}: ${count(rows, "row")}`,
  }));
  if (bars.length === 0) return "";
  const plot = barPlot({ id: "lengths", title: "Rows by length", description: bars.map(({ text }) => text).join("; "), bars });
  const words = `Rows by the most tokens that each bar's rows have.${cutAt === undefined ? "" : ` Rows were cut at ${count(cutAt, "token")}.`}`;
  return `<figure>${plot}</figure>\n${note(words)}`;
}

/** What the run began with and came to, by SHA-256, and on what kind of machine. */
function digests({ digests: inputs, stateDigest, fingerprint, computed }: ReportStory): [string, string][] {
  return [
    ...Object.entries(inputs),
    ...(stateDigest === null ? [] : [["weights and optimizer state", stateDigest] as [string, string]]),
    ...Object.entries(fingerprint ?? {}).map(([name, value]): [string, string] => [name, String(value)]),
    ...(computed === undefined ? [] : [["computed by", computedWords(computed)] as [string, string]]),
  ];
}

function settings({ config }: ReportStory): string {
  const all = settingsOf(config);
  const chosen = all.filter(({ isDefault }) => !isDefault);
  const rows = all.map(({ name, value, isDefault }) => [
    isDefault ? escapeMarkup(name) : `<b>${escapeMarkup(name)}</b>`,
    `<code>${escapeMarkup(value)}</code>`,
    isDefault ? "default" : "<b>this run</b>",
  ]);
  const table = columnTable("Every setting", ["setting", "value", "set by"], rows);
  return `${nameTable(chosen.map(({ name, value }) => [name, value]))}\n${folded(`All ${all.length} settings, ${all.length - chosen.length} of them defaults`, table)}`;
}
