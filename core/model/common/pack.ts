import { UserError } from "../../errors.js";
import { floats, type Tensor } from "../../graph/tensor.js";
import { nextScored } from "../../rows/labels.js";
import { IGNORED, type TokenRow } from "../../rows/token-rows.js";
import type { ModelShape } from "../shape.js";

/** T tokens of all rows end to end, S of one row, N tokens that carry loss. */

/** One row of a micro-batch, as attention takes it: S tokens. */
export interface PackedRow {
  /** its first token among those of all rows, and how many it has */
  readonly first: number;
  readonly length: number;
  /** [S,S] 0 where a query may look, and a hugely negative number after it */
  readonly causal: Tensor;
}

/** A micro-batch: rows end to end, T tokens in all; no padding anywhere. */
export interface PackedRows {
  /** T */
  readonly tokens: number;
  readonly rows: readonly PackedRow[];
  /** [T] */
  readonly ids: Int32Array;
  /** [T, …] of each table the row of each token's position in its row */
  readonly tables: Readonly<Record<string, Tensor>>;
  /** [N] tokens whose next one in the same row has a label */
  readonly lossAt: Int32Array;
  /** [N] that label */
  readonly targets: Int32Array;
}

/**
 * Lays rows end to end; `tables` are a training program's. Throws UserError for a row that is longer than the model's positions or
 * has a token that the model doesn't know.
 */
export function packRows(rows: readonly TokenRow[], shape: ModelShape, tables: Readonly<Record<string, Tensor>>): PackedRows {
  for (const row of rows) checkRow(row, shape);
  const lengths = rows.map((row) => row.inputIds.length);
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const ids = new Int32Array(tokens);
  const lossAt: number[] = [];
  const targets: number[] = [];
  let start = 0;
  for (const { inputIds, labels } of rows) {
    ids.set(inputIds, start);
    for (let at = nextScored(labels, 0); at < labels.length; at = nextScored(labels, at + 1)) {
      lossAt.push(start + at - 1);
      targets.push(labels[at]!);
    }
    start += inputIds.length;
  }
  return {
    tokens,
    rows: attentionRows(lengths),
    ids,
    tables: Object.fromEntries(Object.entries(tables).map(([name, table]) => [name, atPositions(table, lengths)])),
    lossAt: Int32Array.from(lossAt),
    targets: Int32Array.from(targets),
  };
}

function checkRow({ source, inputIds, labels }: TokenRow, shape: ModelShape): void {
  if (inputIds.length > shape.positions)
    throw new UserError("a row is longer than the model's positions: lower preprocess.maxLength", {
      row: source,
      expected: shape.positions,
      got: inputIds.length,
    });
  const unknown = (id: number): boolean => id < 0 || id >= shape.vocabulary;
  const wrong = inputIds.find(unknown) ?? labels.find((label) => label !== IGNORED && unknown(label));
  if (wrong !== undefined)
    throw new UserError("a row has a token that the model doesn't know: tokenizer and model don't belong together", {
      row: source,
      expected: `0 to ${shape.vocabulary - 1}`,
      got: wrong,
    });
}

/** What is added to the scores of keys after a query: far below any score, and yet finite. */
const HIDDEN = -1e30;

/** Rows of these lengths, end to end; those of one length share a mask. */
export function attentionRows(lengths: readonly number[]): PackedRow[] {
  const masks = new Map([...new Set(lengths)].map((S) => [S, causalMask(S)]));
  let first = 0;
  return lengths.map((length) => {
    const row = { first, length, causal: masks.get(length)! };
    first += length;
    return row;
  });
}

/** The first rows of a table for each of the lengths, end to end. */
function atPositions({ data, shape }: Tensor, lengths: readonly number[]): Tensor {
  const T = lengths.reduce((sum, length) => sum + length, 0);
  const width = shape[1]!;
  const all = new Float32Array(T * width);
  let start = 0;
  for (const length of lengths) {
    all.set((data as Float32Array).subarray(0, length * width), start * width);
    start += length;
  }
  return floats(all, T, width);
}

function causalMask(S: number): Tensor {
  const mask = new Float32Array(S * S);
  for (let query = 0; query < S; query++) mask.fill(HIDDEN, query * S + query + 1, (query + 1) * S);
  return floats(mask, S, S);
}
