import { firstNonFinite, floatToBfloat, floatToHalf } from "../../core/format/floats.js";
import type { DType } from "../../core/format/safetensors.js";

/** The bits of the exponent, which are all set in a value that is not finite. */
const EXPONENTS = { F16: 0x7c00, BF16: 0x7f80 } as const;

/** The bytes of fp32 values in a dtype, each rounded once; `overflow` makes the error for the first one that is not finite there. */
export function narrowed(values: Float32Array, dtype: DType, overflow: (at: number) => Error): Uint8Array {
  if (dtype === "F32") {
    const at = firstNonFinite(values);
    if (at !== -1) throw overflow(at);
    return bytesOf(values);
  }
  const narrow = new Uint16Array(values.length);
  (dtype === "F16" ? floatToHalf : floatToBfloat)(values, narrow);
  const exponent = EXPONENTS[dtype === "F16" ? "F16" : "BF16"];
  for (let at = 0; at < narrow.length; at++) if ((narrow[at]! & exponent) === exponent) throw overflow(at);
  return bytesOf(narrow);
}

/** The bytes of an array, without a copy. */
export function bytesOf(values: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
