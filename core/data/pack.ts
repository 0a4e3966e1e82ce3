import { UserError } from "../errors.js";
import type { GptjConfig } from "../model/config.js";
import { floats, int32s, type Tensor } from "../onnx/tensor.js";
import { IGNORED, type TokenRow } from "./tokens.js";

/** A micro-batch: R rows end to end, T tokens in all, the longest of L; no padding but inside attention. */
export interface PackedRows {
  /** T */
  readonly tokens: number;
  /** R */
  readonly rows: number;
  /** L */
  readonly longest: number;
  /** [T] */
  readonly ids: Int32Array;
  /** the block graphs' inputs that say where rows lie: cos, sin, slots, unpad, valid, causal, choice */
  readonly geometry: Readonly<Record<string, Tensor>>;
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
    for (let at = 0; at + 1 < labels.length; at++) {
      if (labels[at + 1] === IGNORED) continue;
      lossAt.push(start + at);
      targets.push(labels[at + 1]!);
    }
    start += inputIds.length;
  }
  return {
    tokens,
    rows: rows.length,
    longest: Math.max(0, ...lengths),
    ids,
    geometry: packGeometry(lengths, config),
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

/** The geometry inputs of rows of these lengths. */
export function packGeometry(lengths: readonly number[], config: GptjConfig): Record<string, Tensor> {
  const H = config.heads;
  const R = lengths.length;
  const L = Math.max(0, ...lengths);
  const T = lengths.reduce((sum, length) => sum + length, 0);
  const half = config.rotaryDim / 2;
  const table = rotaryTables(config);
  const cos = new Float32Array(T * half);
  const sin = new Float32Array(T * half);
  const slots = new Int32Array(R * H * L);
  const unpad = new Int32Array(T * H);
  const valid = new Float32Array(R * L);
  let start = 0;
  lengths.forEach((length, r) => {
    cos.set(table.cos.subarray(0, length * half), start * half);
    sin.set(table.sin.subarray(0, length * half), start * half);
    valid.fill(1, r * L, r * L + length);
    for (let h = 0; h < H; h++) {
      const first = (r * H + h) * L;
      // padding repeats the row's last token: finite, and masked
      for (let l = 0; l < L; l++) slots[first + l] = (start + Math.min(l, length - 1)) * H + h;
      for (let l = 0; l < length; l++) unpad[(start + l) * H + h] = first + l;
    }
    start += length;
  });
  return {
    cos: floats(cos, T, half),
    sin: floats(sin, T, half),
    slots: int32s(slots, R, H, L),
    unpad: int32s(unpad, T, H),
    valid: floats(valid, R, 1, L, 1),
    causal: floats(causalMask(L), L, L),
    choice: floats(new Float32Array(L).fill(1, 1), L, 1),
  };
}

/** [L,L] 0 up to the diagonal, a huge negative number after it. */
function causalMask(L: number): Float32Array {
  const mask = new Float32Array(L * L);
  for (let query = 0; query < L; query++) mask.fill(HIDDEN, query * L + query + 1, (query + 1) * L);
  return mask;
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
