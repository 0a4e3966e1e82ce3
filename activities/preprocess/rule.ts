import type { RunConfig } from "../../core/config/schema.js";
import { UserError } from "../../core/errors.js";
import type { ModelShape } from "../../core/model/shape.js";
import { chooseReading, columnList } from "../../core/rows/row-reading.js";
import { checkResponseKey, type RowRule } from "../../core/rows/row-rules.js";
import { openPrompt } from "../../core/text/open-prompt.js";
import { compileTemplate } from "../../infra/text/jinja.js";
import { readableTokenizer, readTokenizer } from "../../infra/text/read-tokenizer.js";
import { endIdOf, promptTokens } from "../../infra/text/prompt-tokens.js";
import { readEosTokenIds } from "../../infra/weights/read-model-config.js";
import type { RowBatch } from "../../infra/dataset/row.js";
import { openRule, type RuleChoice } from "./open-rule.js";

/** What decides how rows become tokens. */
export interface RuleSettings {
  readonly dataset: string;
  readonly config: Pick<RunConfig, "dataset" | "preprocess">;
  readonly shape: ModelShape;
  /** the model's directory */
  readonly model: string;
}

/** Rows that are tried before the work starts, so that settings that do not fit are refused at once. */
const TRIED = 100;

/**
 * Chooses by the settings and by the columns of the first rows, and tries these. Throws UserError with the columns found and
 * expected if they are of no known format, if the prompt has no room for what rows say, or if the model's tokenizer is missing
 * or unusable; rows that are tokens already need no tokenizer.
 */
export function chooseRule(first: RowBatch, settings: RuleSettings): RuleChoice {
  const { dataset, config, shape, model } = settings;
  const { vocabulary, positions, bosTokenId: bosId } = shape;
  const eosIds = readEosTokenIds(model, { shape });
  const padId = shape.eosTokenIds[0] ?? null;
  const { prompt, maxLength } = config.preprocess;
  const reading = chooseReading(first, config.dataset);
  if (reading === null)
    throw first.columns.length === 0 && first.rows.length === 0
      ? new UserError("the dataset has no rows", { dataset })
      : unknownColumns(first, dataset);
  let choice: RuleChoice;
  if (reading.kind === "tokens") {
    // the rows have their text already, but answers are asked for with the prompt after training
    const tokenizer = prompt === "dolly" ? null : readableTokenizer(model);
    if (tokenizer !== null) openPrompt(prompt, promptTokens(tokenizer, eosIds), compileTemplate);
    choice = { kind: "tokens", reading, bounds: { vocabulary, longest: positions, bosId, eosId: padId, padId } };
  } else {
    const tokenizer = readTokenizer(model);
    if (prompt === "dolly") checkResponseKey(tokenizer);
    const special = promptTokens(tokenizer, eosIds);
    const bounds = {
      vocabulary,
      // a longer row could not be trained on, so a small model cuts earlier
      longest: Math.min(maxLength, positions),
      bosId: tokenizer.idOf(special.bosToken) ?? bosId,
      eosId: endIdOf(tokenizer, eosIds),
      padId,
    };
    const { around, tables, difference } = tokenizer;
    choice = { kind: "text", reading, bounds, prompt, special, around, tables, note: difference() };
  }
  tryRule(openRule(choice), first, dataset);
  return choice;
}

/** Throws UserError if the settings do not fit one of the first rows. */
function tryRule(rule: RowRule, { rows, file }: RowBatch, dataset: string): void {
  for (const [row, source] of rows.slice(0, TRIED).entries()) {
    if ("problem" in source) continue;
    const outcome = rule(source.fields);
    if (outcome.kind === "refused") throw new UserError(outcome.reason, { dataset, file, row });
  }
}

function unknownColumns(first: RowBatch, dataset: string): UserError {
  const problem = first.rows.flatMap((row) => ("problem" in row ? [row.problem] : []))[0];
  if (first.columns.length === 1 && first.filled.length === 1)
    return new UserError(
      "the dataset has one column, and Roslin trains on questions with answers: cut each row into an instruction and an output, or into messages",
      { dataset, file: first.file, got: `column ${columnList(first.columns)}` },
    );
  return new UserError("the dataset's columns are of no format that Roslin knows by name: say by dataset.columns what they mean", {
    dataset,
    file: first.file,
    expected:
      "instruction, output (or response) and perhaps input (or context), system, history; or messages; or conversations; or input_ids and labels",
    got: first.columns.length > 0 ? `columns ${columnList(first.columns.slice(0, 20))}` : (problem ?? "no rows"),
    how: `{"dataset": {"columns": {"instruction": "NAME", "output": "NAME"}}}, or {"messages": "NAME"} for a list of messages`,
  });
}
