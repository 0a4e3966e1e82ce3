import { halfToNumber } from "./floats.js";
import { GGUF_TYPES } from "./gguf-types.js";

/** Blocks of 32 quantized elements to fp32, as GGML does it: every value is rounded once. */

/** A type whose elements are quantized. */
export type QuantizedType = "Q8_0" | "Q4_0" | "Q4_1";

/** Elements of a block. */
const BLOCK = 32;
const HALF = BLOCK / 2;

type Block = (raw: Uint8Array, at: number, out: Float32Array, first: number) => void;

/** By type: reads the block at byte `at` into the 32 elements from `first` on. A product of a half and a code is exact in a number, and so is its sum with a half. */
const BLOCKS: Readonly<Record<QuantizedType, Block>> = {
  // scale, then a signed byte for each element
  Q8_0: (raw, at, out, first) => {
    const scale = half(raw, at);
    for (let i = 0; i < BLOCK; i++) out[first + i] = scale * ((raw[at + 2 + i]! << 24) >> 24);
  },
  // scale, then codes of 4 bits around 8: the low ones are the first 16 elements
  Q4_0: (raw, at, out, first) => {
    const scale = half(raw, at);
    for (let i = 0; i < HALF; i++) {
      const codes = raw[at + 2 + i]!;
      out[first + i] = scale * ((codes & 15) - 8);
      out[first + HALF + i] = scale * ((codes >> 4) - 8);
    }
  },
  // scale and least value, then codes of 4 bits
  Q4_1: (raw, at, out, first) => {
    const scale = half(raw, at);
    const least = half(raw, at + 2);
    for (let i = 0; i < HALF; i++) {
      const codes = raw[at + 4 + i]!;
      out[first + i] = scale * (codes & 15) + least;
      out[first + HALF + i] = scale * (codes >> 4) + least;
    }
  },
};

function half(raw: Uint8Array, at: number): number {
  return halfToNumber(raw[at]! | (raw[at + 1]! << 8));
}

/** Whole blocks to fp32: `out` has 32 elements for each of them. */
export function dequantize(type: QuantizedType, raw: Uint8Array, out: Float32Array): void {
  const read = BLOCKS[type];
  const { bytes } = GGUF_TYPES[type];
  for (let block = 0; block < out.length / BLOCK; block++) read(raw, block * bytes, out, block * BLOCK);
}
