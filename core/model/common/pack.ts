import { UserError } from "../../errors.js";
import { floats, type Tensor } from "../../graph/tensor.js";
import { nextScored } from "../../rows/labels.js";
import { IGNORED, type TokenRow } from "../../rows/token-rows.js";
import type { ModelShape } from "../shape.js";

/** T tokens of all rows end to end, S of one row, N tokens that carry loss. */

/** One row of a micro-batch, or several that share their first tokens, as attention takes it: S tokens. */
export interface PackedRow {
  /** its first token among those of all rows, and how many it has */
  readonly first: number;
  readonly length: number;
  /** [S,S] 0 where a query may look, and a hugely negative number elsewhere: after it, and at what is another row's alone */
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
  const runs = runsOf(rows);
  const tokens = runs.reduce((sum, { length }) => sum + length, 0);
  const ids = new Int32Array(tokens);
  const lossAt: number[] = [];
  const targets: number[] = [];
  let start = 0;
  let stem = 0;
  for (const [index, { inputIds, labels, shared = 0 }] of rows.entries()) {
    ids.set(inputIds.subarray(shared), start);
    if (shared === 0) stem = start;
    for (let at = nextScored(labels, 0); at < labels.length; at = nextScored(labels, at + 1)) {
      lossAt.push(at <= shared ? stem + at - 1 : start + at - shared - 1);
      targets.push(labels[at]!);
    }
    start += runs[index]!.length;
  }
  return {
    tokens,
    rows: attentionRows(runs),
    ids,
    tables: Object.fromEntries(Object.entries(tables).map(([name, table]) => [name, atPositions(table, runs)])),
    lossAt: Int32Array.from(lossAt),
    targets: Int32Array.from(targets),
  };
}

/** A row's own tokens: they stand at positions from `shared` on. */
interface Run {
  readonly shared: number;
  readonly length: number;
}

function runsOf(rows: readonly TokenRow[]): Run[] {
  return rows.map(({ inputIds, shared = 0 }) => ({ shared, length: inputIds.length - shared }));
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

/** Rows end to end; those of one length that share nothing share a mask. */
function attentionRows(runs: readonly Run[]): PackedRow[] {
  const masks = new Map<number, Tensor>();
  const rows: PackedRow[] = [];
  let first = 0;
  for (let at = 0; at < runs.length;) {
    let end = at + 1;
    while (end < runs.length && runs[end]!.shared > 0) end++;
    const group = runs.slice(at, end);
    const length = group.reduce((sum, run) => sum + run.length, 0);
    const known = group.length === 1 ? masks.get(length) : undefined;
    const causal = known ?? mask(group, length);
    if (group.length === 1) masks.set(length, causal);
    rows.push({ first, length, causal });
    first += length;
    at = end;
  }
  return rows;
}

/** The rows of a table for the positions of each run, end to end. */
function atPositions({ data, shape }: Tensor, runs: readonly Run[]): Tensor {
  const T = runs.reduce((sum, { length }) => sum + length, 0);
  const width = shape[1]!;
  const all = new Float32Array(T * width);
  let start = 0;
  for (const { shared, length } of runs) {
    all.set((data as Float32Array).subarray(shared * width, (shared + length) * width), start * width);
    start += length;
  }
  return floats(all, T, width);
}

/** A token sees those before it of its own run, and those that it shares. */
function mask(runs: readonly Run[], S: number): Tensor {
  const values = new Float32Array(S * S);
  let start = 0;
  for (const { shared, length } of runs) {
    for (let query = start; query < start + length; query++) {
      values.fill(HIDDEN, query * S + shared, query * S + start);
      values.fill(HIDDEN, query * S + query + 1, (query + 1) * S);
    }
    start += length;
  }
  return floats(values, S, S);
}
