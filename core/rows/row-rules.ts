import { UserError } from "../errors.js";
import type { Around } from "../text/around.js";
import type { Encoder } from "../text/encoder.js";
import { IdBuffer } from "../text/id-buffer.js";
import { checkRoom, PromptProblem, type Prompt } from "../text/prompt-kind.js";
import { bodyOf, headOf, RESPONSE_KEY } from "../text/prompt.js";
import { idsBefore } from "../text/request.js";
import type { Tokenizer } from "../text/tokenizer.js";
import { labelSpans, lossTokens, maskRow, responseStart } from "./labels.js";
import type { ReadRow } from "./read-row.js";
import { RowProblem, type Fields } from "./row-fields.js";
import { responseKeyIds } from "./response-key.js";
import { IGNORED } from "./token-rows.js";

/**
 * What becomes of a row: tokens (valid until the rule is given its next row), nothing (an empty response, or no token with
 * loss), or a rejection with its reason. "refused": the settings do not fit the dataset, whatever the other rows are.
 */
export type RowOutcome =
  | {
      readonly kind: "kept";
      readonly inputIds: ArrayLike<number>;
      readonly labels: Int32Array | readonly number[];
      readonly truncated: boolean;
    }
  | { readonly kind: "dropped" | "withoutLoss" }
  | { readonly kind: "rejected" | "refused"; readonly reason: string };

/** The columns that rules look at by themselves. */
export const COLUMNS = [
  "instruction",
  "input",
  "context",
  "output",
  "response",
  "system",
  "history",
  "messages",
  "conversations",
  "input_ids",
  "labels",
] as const;

/** Turns the fields of a row into tokens. */
export type RowRule = (fields: Fields) => RowOutcome;

/** What of the model bounds a row. */
export interface RowBounds {
  /** ids are below it */
  readonly vocabulary: number;
  /** the longest row, in tokens: longer texts are cut, longer rows of tokens are rejected */
  readonly longest: number;
  /** what a row begins with; null: there is none */
  readonly bosId: number | null;
  /** what ends an answer; null: there is none */
  readonly eosId: number | null;
  /** what Dolly pads with; null: nothing */
  readonly padId: number | null;
}

const rejected = (reason: string): RowOutcome => ({ kind: "rejected", reason });

/** Throws UserError if a tokenizer cannot write what `dollyRule` looks for. */
export function checkResponseKey(tokenizer: Pick<Tokenizer, "encode" | "decode">): void {
  if (tokenizer.decode(responseKeyIds(tokenizer)) !== RESPONSE_KEY)
    throw new UserError(
      "the model's tokenizer cannot write the response key: its vocabulary lacks bytes, or it changes or joins what it reads",
      {
        key: JSON.stringify(RESPONSE_KEY),
      },
    );
}

/** The rule for Dolly's prompt: loss on what follows the response key, but never on the token that Dolly pads with. */
export function dollyRule(read: ReadRow, encoder: Encoder, bounds: RowBounds, around: Around): RowRule {
  const key = responseKeyIds(encoder);
  const encodeRow = rowEncoder(encoder, around);
  const { longest, padId } = bounds;
  const labels = new Int32Array(longest);
  return outcomeOf(read, bounds, (conversation) => {
    if (conversation.system !== "" || conversation.turns.length > 1) checkRoom(conversation, DOLLY_ROOM, "the prompt dolly");
    const turn = conversation.turns[0]!;
    const whole = encodeRow(turn);
    const start = responseStart(whole, key);
    if (start === null)
      throw new RowProblem("the tokenizer joins the response key with what follows it, so where the response starts is unknown");
    if (start > longest) throw new RowProblem(`the prompt alone is longer than ${longest} tokens: its response is cut away`);
    const inputIds = whole.subarray(0, longest);
    if (turn.scored) maskRow(inputIds, start, padId, labels);
    else labels.fill(IGNORED);
    return { inputIds, labels: labels.subarray(0, inputIds.length), truncated: whole.length > longest };
  });
}

const DOLLY_ROOM: ReadonlySet<string> = new Set(["instruction", "input"]);

/** The rule for the other prompts: loss where the prompt says. */
export function promptRule(read: ReadRow, prompt: Prompt, encoder: Encoder, bounds: RowBounds, around: Around): RowRule {
  const { longest, eosId } = bounds;
  return outcomeOf(read, bounds, (conversation) => {
    const { text, scored, needsEos } = prompt.write(conversation);
    const ids = encoder.encode(text);
    const before = prompt.around ? idsBefore(around, ids) : [];
    if (needsEos && eosId === null) throw new PromptProblem("the model has no EOS token, so nothing would end an answer", true);
    const endsWithEos = ids.at(-1) === eosId;
    const end = needsEos && !endsWithEos && eosId !== null ? [eosId] : [];
    // a tokenizer that puts EOS after a text gives no second one
    const after = !prompt.around ? [] : (end.length > 0 || endsWithEos) && around.after[0] === eosId ? around.after.slice(1) : around.after;
    const whole = [...before, ...ids, ...end, ...after];
    const labels = new Int32Array(whole.length).fill(IGNORED);
    for (const [first, end] of labelSpans(encoder, text, ids, scored))
      for (let at = first; at < end; at++) labels[before.length + at] = ids[at]!;
    if (scored.length > 0) labels.set(end, before.length + ids.length);
    return { inputIds: whole.slice(0, longest), labels: labels.subarray(0, longest), truncated: whole.length > longest };
  });
}

interface Tokenized {
  readonly inputIds: ArrayLike<number>;
  readonly labels: Int32Array;
  readonly truncated: boolean;
}

/** Reads a row and makes its tokens; a rule for them all. */
function outcomeOf(read: ReadRow, bounds: RowBounds, tokenize: (row: NonNullable<ReturnType<ReadRow>>) => Tokenized): RowRule {
  return (fields) => {
    try {
      const row = read(fields);
      if (row === null) return { kind: "dropped" };
      const { inputIds, labels, truncated } = tokenize(row);
      const { vocabulary, bosId } = bounds;
      for (let at = 0; at < inputIds.length; at++)
        if (inputIds[at]! >= vocabulary) return rejected(`token ${inputIds[at]!} is beyond the model's vocabulary of ${vocabulary}`);
      if (inputIds[0] === bosId && inputIds[1] === bosId) return { kind: "refused", reason: doubledBos(bosId) };
      if (lossTokens(labels) === 0) return { kind: "withoutLoss" };
      return { kind: "kept", inputIds, labels, truncated };
    } catch (error) {
      if (error instanceof PromptProblem) return { kind: error.whole ? "refused" : "rejected", reason: error.message };
      if (error instanceof RowProblem) return rejected(error.message);
      throw error;
    }
  };
}

/** Why a row with two BOS tokens at its start is refused. */
export function doubledBos(bosId: number): string {
  return `a row begins with the BOS token twice (id ${bosId}): the model has never seen that. Leave BOS out of the template or of the rows`;
}

/** Encodes a row's text. The tokens of a head are made once if they cannot depend on what follows. */
function rowEncoder(
  encoder: Encoder,
  { before, after }: Around,
): (row: { readonly instruction: string; readonly input: string; readonly output: string }) => Int32Array {
  const heads = new Map(["", "input"].map((input) => [headOf(input), encoder.encode(headOf(input))]));
  const ids = new IdBuffer();
  return (row) => {
    const head = headOf(row.input);
    ids.length = 0;
    ids.append(before);
    // a head ends with a line feed
    if (!encoder.splitsAtLines || !/^[A-Za-z]/.test(row.instruction)) encoder.append(head + bodyOf(row), ids);
    else {
      ids.append(heads.get(head)!);
      encoder.append(bodyOf(row), ids);
    }
    ids.append(after);
    return ids.view();
  };
}

/** The rule for rows that are tokens already: taken as they are when they fit the model. */
export function tokenRule({ vocabulary, longest, bosId, eosId }: RowBounds): RowRule {
  return (fields) => {
    const inputIds = integers(fields["input_ids"]);
    const labels = integers(fields["labels"]);
    if (inputIds === null) return rejected("input_ids: expected a list of whole numbers");
    if (labels === null) return rejected("labels: expected a list of whole numbers");
    if (inputIds.length !== labels.length)
      return rejected(`input_ids and labels differ in length: ${inputIds.length} and ${labels.length}`);
    if (inputIds.length === 0) return rejected("input_ids is empty");
    if (inputIds.length > longest) return rejected(`${inputIds.length} tokens are more than the model's ${longest} positions`);
    const inside = (id: number): boolean => id >= 0 && id < vocabulary;
    const wrongId = inputIds.find((id) => !inside(id));
    if (wrongId !== undefined) return rejected(`input_ids: ${wrongId} is outside the model's vocabulary of ${vocabulary}`);
    const wrongLabel = labels.find((id) => id !== IGNORED && !inside(id));
    if (wrongLabel !== undefined)
      return rejected(`labels: ${wrongLabel} is neither ${IGNORED} nor inside the model's vocabulary of ${vocabulary}`);
    // where BOS is EOS as well, it may be padding
    if (bosId !== eosId && inputIds[0] === bosId && inputIds[1] === bosId) return { kind: "refused", reason: doubledBos(bosId) };
    return lossTokens(labels) === 0 ? { kind: "withoutLoss" } : { kind: "kept", inputIds, labels, truncated: false };
  };
}

/** A list of whole numbers (Parquet's are bigint); null when it is anything else. */
function integers(value: unknown): number[] | null {
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) return null;
  const numbers = Array.from(value as ArrayLike<unknown>, (item) => (typeof item === "bigint" ? Number(item) : item));
  return numbers.every((item) => Number.isSafeInteger(item)) ? (numbers as number[]) : null;
}
