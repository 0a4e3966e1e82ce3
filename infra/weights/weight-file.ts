import { readSync } from "node:fs";
import { CorruptError, UserError } from "../../core/errors.js";
import { bfloatToFloat, halfToFloat } from "../../core/format/floats.js";
import type { DType } from "../../core/format/safetensors.js";

/** A file of named tensors, open for reading. */
export interface WeightFile {
  readonly path: string;
  readonly entries: ReadonlyMap<string, { readonly dtype: DType; readonly shape: readonly number[] }>;
  /** Elements [first, first + out.length) of a tensor, in row-major order, as fp32, from F32, F16 or BF16. */
  readFloats(name: string, first: number, out: Float32Array): void;
  /** The byte at which a tensor begins whose elements lie in row-major order; null: they lie otherwise. */
  offsetOf(name: string): number | null;
  close(): void;
}

/** Bytes read and converted at a time. */
const SLICE_BYTES = 8 << 20;

/** Fills `target` from a file's byte `offset` on; throws CorruptError when the file ends before. */
export function readInto(descriptor: number, path: string, offset: number, target: Uint8Array): void {
  let done = 0;
  while (done < target.length) {
    const read = readSync(descriptor, target, done, Math.min(target.length - done, 1 << 30), offset + done);
    if (read === 0) throw new CorruptError("a file ended early", { file: path, expected: offset + target.length, got: offset + done });
    done += read;
  }
}

/** Bytes of an element of a dtype that is trained; throws UserError for another one. */
export function floatBytes(dtype: DType, tensor: string, file: string): 2 | 4 {
  if (dtype === "F32") return 4;
  if (dtype === "F16" || dtype === "BF16") return 2;
  throw new UserError("a weight has a dtype that is not trained", { file, tensor, expected: "F32, F16 or BF16", got: dtype });
}

/** Bytes of floats, aligned to their size, as fp32. */
export function toFloats(dtype: DType, raw: Uint8Array, out: Float32Array): void {
  if (dtype === "F32") out.set(new Float32Array(raw.buffer, raw.byteOffset, out.length));
  else (dtype === "F16" ? halfToFloat : bfloatToFloat)(new Uint16Array(raw.buffer, raw.byteOffset, out.length), out);
}

/** One for all reads, which are synchronous: memory of its own for each would wait for the collector. */
let scratch: Uint8Array | undefined;

/** Floats that lie one after the other from a file's byte `offset` on, as fp32. */
export function readFloatsAt(descriptor: number, path: string, offset: number, dtype: DType, out: Float32Array): void {
  const size = dtype === "F32" ? 4 : 2;
  scratch ??= new Uint8Array(SLICE_BYTES);
  const step = SLICE_BYTES / size;
  for (let at = 0; at < out.length; at += step) {
    const target = out.subarray(at, Math.min(at + step, out.length));
    const raw = scratch.subarray(0, target.length * size);
    readInto(descriptor, path, offset + at * size, raw);
    toFloats(dtype, raw, target);
  }
}
