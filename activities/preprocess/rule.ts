import { alpacaRule, tokenRule, type RowRule } from "../../core/data/row-rules.js";
import { createTokenizer } from "../../core/data/tokenizer.js";
import { UserError } from "../../core/errors.js";
import type { GptjConfig } from "../../core/model/config.js";
import type { RowBatch } from "../../infra/dataset/row.js";

/** What decides how rows become tokens. */
export interface RuleSettings {
  readonly dataset: string;
  readonly maxLength: number;
  readonly config: GptjConfig;
  readonly tokenizerFile: string;
  /** Reads tokenizer.json; UserError when there is none. Rows that are tokens already need none. */
  readTokenizer(): Promise<unknown>;
}

/** Chooses by the columns of the first rows; UserError naming columns found and expected when they are neither kind. */
export async function chooseRule(first: RowBatch, settings: RuleSettings): Promise<RowRule> {
  const { vocabulary, positions, eosTokenId: padId } = settings.config;
  const has = (...names: readonly string[]): boolean => names.every((name) => first.columns.includes(name));
  if (has("input_ids", "labels")) return tokenRule({ vocabulary, positions });
  if (has("instruction", "output"))
    return alpacaRule(
      createTokenizer(await settings.readTokenizer(), settings.tokenizerFile),
      { vocabulary, padId },
      // a longer row could not be trained on, so a small model cuts earlier
      Math.min(settings.maxLength, positions),
    );
  const problem = first.rows.flatMap((row) => ("problem" in row ? [row.problem] : []))[0];
  throw new UserError("the dataset is not in Alpaca's format", {
    dataset: settings.dataset,
    expected: "columns instruction, output and perhaps input; or input_ids and labels",
    got: first.columns.length > 0 ? `columns ${first.columns.slice(0, 20).join(", ")}` : (problem ?? "no rows"),
  });
}
