import { UserError } from "../errors.js";
import { IdBuffer } from "../text/id-buffer.js";
import { maskRow, responseStart } from "./labels.js";
import { bodyOf, headOf, RESPONSE_KEY } from "../text/prompt.js";
import type { Encoder } from "../text/encoder.js";
import type { Tokenizer } from "../text/tokenizer.js";
import { responseKeyIds } from "./response-key.js";
import { IGNORED } from "./token-rows.js";

/** What becomes of a row: tokens (valid until the rule is given its next row), nothing (an empty response), or a rejection with its reason. */
export type RowOutcome =
  | {
      readonly kind: "kept";
      readonly inputIds: ArrayLike<number>;
      readonly labels: ArrayLike<number>;
      readonly truncated: boolean;
    }
  | { readonly kind: "dropped" }
  | { readonly kind: "rejected"; readonly reason: string };

/** The columns that rules look at. */
export const COLUMNS = ["instruction", "input", "output", "input_ids", "labels"] as const;

/** Turns the fields of a row into tokens. */
export type RowRule = (fields: Readonly<Record<string, unknown>>) => RowOutcome;

/** What of the model bounds a row. */
export interface RowBounds {
  /** ids are below it */
  readonly vocabulary: number;
  /** the longest row that the model takes */
  readonly positions: number;
}

const TORN = "half of a surrogate pair is not a character";

const rejected = (reason: string): RowOutcome => ({ kind: "rejected", reason });

/** As Python strips: Unicode's white space and four control characters. */
const EMPTY = /^[\p{White_Space}\x1c-\x1f]*$/u;

/** Throws UserError if a tokenizer cannot write what `alpacaRule` looks for. */
export function checkResponseKey(tokenizer: Tokenizer): void {
  if (tokenizer.decode(responseKeyIds(tokenizer)) !== RESPONSE_KEY)
    throw new UserError(
      "the model's tokenizer cannot write the response key: its vocabulary lacks bytes, or it changes or joins what it reads",
      {
        key: JSON.stringify(RESPONSE_KEY),
      },
    );
}

/** The rule for Alpaca's rows: instruction, output and perhaps input become Dolly's prompt, cut at `maxLength` tokens. */
export function alpacaRule(
  encoder: Encoder,
  bounds: { readonly vocabulary: number; readonly padId: number | null },
  maxLength: number,
): RowRule {
  const key = responseKeyIds(encoder);
  const encodeRow = rowEncoder(encoder);
  const labels = new Int32Array(maxLength);
  return ({ instruction, input, output }) => {
    if (typeof instruction !== "string") return rejected(wrongType("instruction", instruction));
    if (typeof output !== "string" && output !== null) return rejected(wrongType("output", output));
    if (typeof input !== "string" && input !== null && input !== undefined) return rejected(wrongType("input", input));
    if (!instruction.isWellFormed()) return rejected(`instruction: ${TORN}`);
    if (output?.isWellFormed() === false) return rejected(`output: ${TORN}`);
    if (input?.isWellFormed() === false) return rejected(`input: ${TORN}`);
    if (output === null || EMPTY.test(output)) return { kind: "dropped" };
    const whole = encodeRow({ instruction, input: input ?? "", output });
    const inputIds = whole.subarray(0, maxLength);
    for (const id of inputIds)
      if (id >= bounds.vocabulary) return rejected(`token ${id} is beyond the model's vocabulary of ${bounds.vocabulary}`);
    const start = responseStart(whole, key);
    if (start !== null && start <= maxLength) {
      maskRow(inputIds, start, bounds.padId, labels);
      return { kind: "kept", inputIds, labels: labels.subarray(0, inputIds.length), truncated: whole.length > maxLength };
    }
    return rejected(
      start !== null
        ? `the prompt alone is longer than ${maxLength} tokens: its response is cut away`
        : "the tokenizer joins the response key with what follows it, so where the response starts is unknown",
    );
  };
}

/** Encodes a row's text. The tokens of a head are made once if they cannot depend on what follows. */
function rowEncoder(
  encoder: Encoder,
): (row: { readonly instruction: string; readonly input: string; readonly output: string }) => Int32Array {
  const heads = new Map(["", "input"].map((input) => [headOf(input), encoder.encode(headOf(input))]));
  const ids = new IdBuffer();
  return (row) => {
    const head = headOf(row.input);
    ids.length = 0;
    // a head ends with a line feed
    if (!encoder.splitsAtLines || !/^[A-Za-z]/.test(row.instruction)) encoder.append(head + bodyOf(row), ids);
    else {
      ids.append(heads.get(head)!);
      encoder.append(bodyOf(row), ids);
    }
    return ids.view();
  };
}

/** The rule for rows that are tokens already: taken as they are when they fit the model. */
export function tokenRule({ vocabulary, positions }: RowBounds): RowRule {
  return (fields) => {
    const inputIds = integers(fields["input_ids"]);
    const labels = integers(fields["labels"]);
    if (inputIds === null) return rejected("input_ids: expected a list of whole numbers");
    if (labels === null) return rejected("labels: expected a list of whole numbers");
    if (inputIds.length !== labels.length)
      return rejected(`input_ids and labels differ in length: ${inputIds.length} and ${labels.length}`);
    if (inputIds.length === 0) return rejected("input_ids is empty");
    if (inputIds.length > positions) return rejected(`${inputIds.length} tokens are more than the model's ${positions} positions`);
    const inside = (id: number): boolean => id >= 0 && id < vocabulary;
    const wrongId = inputIds.find((id) => !inside(id));
    if (wrongId !== undefined) return rejected(`input_ids: ${wrongId} is outside the model's vocabulary of ${vocabulary}`);
    const wrongLabel = labels.find((id) => id !== IGNORED && !inside(id));
    if (wrongLabel !== undefined)
      return rejected(`labels: ${wrongLabel} is neither ${IGNORED} nor inside the model's vocabulary of ${vocabulary}`);
    return { kind: "kept", inputIds, labels, truncated: false };
  };
}

function wrongType(field: string, value: unknown): string {
  if (value === undefined) return `${field} is missing`;
  return `${field}: expected text, got ${kindOf(value)}`;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (ArrayBuffer.isView(value)) return "bytes that are not UTF-8";
  return Array.isArray(value) ? "a list" : typeof value;
}

/** A list of whole numbers (Parquet's are bigint); null when it is anything else. */
function integers(value: unknown): number[] | null {
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) return null;
  const numbers = Array.from(value as ArrayLike<unknown>, (item) => (typeof item === "bigint" ? Number(item) : item));
  return numbers.every((item) => Number.isSafeInteger(item)) ? (numbers as number[]) : null;
}
