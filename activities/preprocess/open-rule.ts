import { rowReader } from "../../core/rows/read-row.js";
import type { RowReading } from "../../core/rows/row-reading.js";
import { dollyRule, promptRule, tokenRule, type RowBounds, type RowRule } from "../../core/rows/row-rules.js";
import type { Around } from "../../core/text/around.js";
import { openEncoder, type EncoderTables } from "../../core/text/open-encoder.js";
import { openPrompt } from "../../core/text/open-prompt.js";
import type { PromptSetting, PromptTokens } from "../../core/text/prompt-kind.js";
import { compileTemplate } from "../../infra/text/jinja.js";

/** How rows become tokens, in words that go to a thread. */
export type RuleChoice =
  | { readonly kind: "tokens"; readonly reading: RowReading; readonly bounds: RowBounds }
  | {
      readonly kind: "text";
      readonly reading: Exclude<RowReading, { readonly kind: "tokens" }>;
      readonly bounds: RowBounds;
      readonly prompt: PromptSetting;
      readonly special: PromptTokens;
      readonly around: Around;
      readonly tables: EncoderTables;
      /** how token ids differ from those of the model's tokenizer.json; null: they don't */
      readonly note: string | null;
    };

/** Makes the rule that was chosen. */
export function openRule(choice: RuleChoice): RowRule {
  if (choice.kind === "tokens") return tokenRule(choice.bounds);
  const { prompt, special, bounds, around } = choice;
  const read = rowReader(choice.reading);
  const encoder = openEncoder(choice.tables);
  if (prompt === "dolly") return dollyRule(read, encoder, bounds, around);
  return promptRule(read, openPrompt(prompt, special, compileTemplate), encoder, bounds, around);
}
