import { ruleWords } from "../../../core/stages/gate.js";
import { shortFigure } from "../../../core/units.js";
import { overrideWords } from "../../../core/stages/override.js";
import { gateWord } from "../../../core/stages/words.js";
import { escapeMarkup } from "../../../infra/plots/markup.js";
import type { Evaluation } from "../../evaluate/evaluation.js";
import type { Story } from "../story.js";
import { columnTable, note } from "./markup.js";

/** What the gate asked, what came of each rule, and what a person made of it. */
export function gateRules({ gate, heldOut }: Evaluation, override: Story["override"]): string {
  const { ratio, maxPerplexityRatio, rules = [], tasks = {} } = gate;
  const passed = ratio !== null && ratio <= maxPerplexityRatio;
  const words = `perplexity ${shortFigure(ratio)} times the base model's, at most ${maxPerplexityRatio}`;
  const rows = [
    ...(heldOut.labels > 0 ? [[words, gateWord({ passed })]] : []),
    ...rules.map((rule) => [ruleWords(rule), gateWord(rule)]),
    ...Object.entries(tasks).map(([name, verdict]) => [name, gateWord(verdict)]),
  ];
  const table =
    rows.length === 0
      ? ""
      : columnTable(
          "Rules of the gate",
          ["the gate's rule", "verdict"],
          rows.map((row) => row.map(escapeMarkup)),
        );
  return `${table}${override == null ? "" : note(`The gate was ${overrideWords(override)}.`)}`;
}
