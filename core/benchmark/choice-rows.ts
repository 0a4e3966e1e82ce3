import { UserError } from "../errors.js";
import { IGNORED, type TokenRow } from "../rows/token-rows.js";
import type { ModelTokenizer } from "../text/model-tokenizer.js";
import { strippedLength } from "../text/python-space.js";

/**
 * Rows whose loss is the log-likelihood of a text after another, as the model class for transformers of lm-evaluation-harness
 * 0.4.13 makes them.
 */

/** What the rows depend on of a model. */
export interface RowMaker {
  readonly tokenizer: Pick<ModelTokenizer, "encode" | "around" | "bosToken" | "eosToken" | "idOf">;
  /** tokens that the model takes at most; earlier ones are left out */
  readonly positions: number;
}

/** Makes the rows of a model; a context that comes again is encoded once. */
export function createRowMaker({ tokenizer, positions }: RowMaker): (context: string, continuation: string, source: number) => TokenRow {
  const startToken = tokenizer.bosToken ?? tokenizer.eosToken;
  const start = startToken === null ? undefined : tokenizer.idOf(startToken);
  const encode = (text: string): number[] => {
    const ids = tokenizer.encode(text);
    // who writes BOS gets no second one
    if (startToken !== null && text.startsWith(startToken)) return ids;
    return [...tokenizer.around.before, ...ids, ...tokenizer.around.after];
  };
  let [last, lastIds]: [string | null, readonly number[]] = [null, []];
  const encodeContext = (context: string): readonly number[] => {
    if (context !== last) [last, lastIds] = [context, encode(context)];
    return lastIds;
  };

  const split = (context: string, continuation: string): readonly [given: readonly number[], scored: readonly number[]] => {
    // white space between the two belongs to the word after it
    const end = strippedLength(context);
    const given = context.slice(0, end);
    const scored = context.slice(end) + continuation;
    const ids = encodeContext(given);
    if (context !== "" && ids.length > 0) return [ids, encode(given + scored).slice(ids.length)];
    if (start === undefined)
      throw new UserError("the context is empty, and the tokenizer has neither a BOS nor an EOS token to put in its place");
    const all = tokenizer.encode(scored);
    return all[0] === start ? [all.slice(0, 1), all.slice(1)] : [[start], all];
  };

  return (context, continuation, source) => {
    const [given, scored] = split(context, continuation);
    if (scored.length === 0)
      throw new UserError("a choice adds no token to the context, so it has no likelihood", { choice: JSON.stringify(continuation) });
    if (scored.length > positions)
      throw new UserError("a choice has more tokens than the model has positions", { expected: positions, got: scored.length });
    const tokens = [...given, ...scored].slice(-(positions + 1));
    const labels = tokens.map((id, at) => (at < tokens.length - scored.length ? IGNORED : id));
    // the last token is only predicted: a model need not take it
    return { source, inputIds: Int32Array.from(tokens.slice(0, -1)), labels: Int32Array.from(labels) };
  };
}
