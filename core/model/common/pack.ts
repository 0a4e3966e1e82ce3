import { UserError } from "../../errors.js";
import type { GptjConfig } from "../gptj/config.js";
import { floats, type Tensor } from "../../graph/tensor.js";
import { nextScored } from "../../rows/labels.js";
import { IGNORED, type TokenRow } from "../../rows/token-rows.js";

/** One row of a micro-batch, as attention takes it: S tokens. */
export interface PackedRow {
  /** its first token among those of all rows, and how many it has */
  readonly first: number;
  readonly length: number;
  /** [S,S] 0 where a query may look, a huge negative number after it */
  readonly causal: Tensor;
}

/** A micro-batch: rows end to end, T tokens in all; no padding anywhere. */
export interface PackedRows {
  /** T */
  readonly tokens: number;
  readonly rows: readonly PackedRow[];
  /** [T] */
  readonly ids: Int32Array;
  /** [T, rotaryDim/2] of each token's position in its row */
  readonly rotation: { readonly cos: Tensor; readonly sin: Tensor };
  /** [N] tokens whose next one in the same row has a label */
  readonly lossAt: Int32Array;
  /** [N] that label */
  readonly targets: Int32Array;
}

/** Lays rows end to end. Throws UserError for a row that is longer than the model's positions or has a token it doesn't know. */
export function packRows(rows: readonly TokenRow[], config: GptjConfig): PackedRows {
  for (const row of rows) checkRow(row, config);
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
    rotation: rotation(lengths, config),
    lossAt: Int32Array.from(lossAt),
    targets: Int32Array.from(targets),
  };
}

function checkRow({ source, inputIds, labels }: TokenRow, config: GptjConfig): void {
  if (inputIds.length > config.positions)
    throw new UserError("a row is longer than the model's positions: lower preprocess.maxLength", {
      row: source,
      expected: config.positions,
      got: inputIds.length,
    });
  const unknown = (id: number): boolean => id < 0 || id >= config.vocabulary;
  const wrong = inputIds.find(unknown) ?? labels.find((label) => label !== IGNORED && unknown(label));
  if (wrong !== undefined)
    throw new UserError("a row has a token that the model doesn't know: tokenizer and model don't belong together", {
      row: source,
      expected: `0 to ${config.vocabulary - 1}`,
      got: wrong,
    });
}

/** Later keys of a query get this added to their score: far below any score, and yet finite. */
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

function rotation(lengths: readonly number[], config: GptjConfig): PackedRows["rotation"] {
  const T = lengths.reduce((sum, length) => sum + length, 0);
  const half = config.rotaryDim / 2;
  const table = rotaryTables(config);
  const ofRows = (values: Float32Array): Tensor => {
    const all = new Float32Array(T * half);
    let start = 0;
    for (const length of lengths) {
      all.set(values.subarray(0, length * half), start * half);
      start += length;
    }
    return floats(all, T, half);
  };
  return { cos: ofRows(table.cos), sin: ofRows(table.sin) };
}

function causalMask(S: number): Tensor {
  const mask = new Float32Array(S * S);
  for (let query = 0; query < S; query++) mask.fill(HIDDEN, query * S + query + 1, (query + 1) * S);
  return floats(mask, S, S);
}

const tables = new WeakMap<GptjConfig, { readonly cos: Float32Array; readonly sin: Float32Array }>();

/** Cosines and sines [positions, rotaryDim/2] of each position's angles, rounded where torch rounds them; made once for a config. */
export function rotaryTables(config: GptjConfig): { readonly cos: Float32Array; readonly sin: Float32Array } {
  const known = tables.get(config);
  if (known !== undefined) return known;
  const half = config.rotaryDim / 2;
  const frequencies = Array.from({ length: half }, (_, pair) =>
    Math.fround(1 / Math.fround(10000 ** Math.fround((2 * pair) / config.rotaryDim))),
  );
  const angle = (at: number): number => Math.fround(Math.floor(at / half) * frequencies[at % half]!);
  const length = config.positions * half;
  const made = {
    cos: Float32Array.from({ length }, (_, at) => Math.cos(angle(at))),
    sin: Float32Array.from({ length }, (_, at) => Math.sin(angle(at))),
  };
  tables.set(config, made);
  return made;
}
