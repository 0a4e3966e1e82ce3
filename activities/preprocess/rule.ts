import type { EncoderTables } from "../../core/text/encoder.js";
import { checkResponseKey } from "../../core/rows/row-rules.js";
import { UserError } from "../../core/errors.js";
import type { ModelShape } from "../../core/model/shape.js";
import { readTokenizer } from "../../infra/text/read-tokenizer.js";
import type { RowBatch } from "../../infra/dataset/row.js";

/** How rows become tokens, in words that go to a thread. */
export type RuleChoice =
  | { readonly kind: "tokens"; readonly vocabulary: number; readonly positions: number }
  | {
      readonly kind: "alpaca";
      readonly vocabulary: number;
      /** null: there is none */
      readonly padId: number | null;
      /** tokens at which rows are cut */
      readonly maxLength: number;
      readonly tables: EncoderTables;
    };

/** What decides how rows become tokens. */
export interface RuleSettings {
  readonly dataset: string;
  readonly maxLength: number;
  readonly shape: ModelShape;
  /** the model's directory */
  readonly model: string;
}

/**
 * Chooses by the columns of the first rows. Throws UserError with the columns found and expected if they are of neither kind, or
 * if the model's tokenizer is missing or unusable; rows that are tokens already need no tokenizer.
 */
export function chooseRule(first: RowBatch, { dataset, maxLength, shape, model }: RuleSettings): RuleChoice {
  const { vocabulary, positions, eosTokenIds } = shape;
  const has = (...names: readonly string[]): boolean => names.every((name) => first.columns.includes(name));
  if (has("input_ids", "labels")) return { kind: "tokens", vocabulary, positions };
  if (has("instruction", "output")) {
    const tokenizer = readTokenizer(model);
    checkResponseKey(tokenizer);
    // a longer row could not be trained on, so a small model cuts earlier
    return {
      kind: "alpaca",
      vocabulary,
      padId: eosTokenIds[0] ?? null,
      maxLength: Math.min(maxLength, positions),
      tables: tokenizer.tables,
    };
  }
  const problem = first.rows.flatMap((row) => ("problem" in row ? [row.problem] : []))[0];
  throw new UserError("the dataset is not in Alpaca's format", {
    dataset,
    expected: "columns instruction, output and perhaps input; or input_ids and labels",
    got: first.columns.length > 0 ? `columns ${first.columns.slice(0, 20).join(", ")}` : (problem ?? "no rows"),
  });
}
