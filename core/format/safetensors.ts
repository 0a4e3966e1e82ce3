import { CorruptError } from "../errors.js";

/** safetensors: 8 bytes of header length, a JSON header, then the tensors' bytes without gaps, little-endian. */

/** Bytes of an element. */
export const DTYPE_BYTES = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, I16: 2, I8: 1, U8: 1, BOOL: 1 } as const;
/** A dtype by its name in the header. */
export type DType = keyof typeof DTYPE_BYTES;

/** Where a tensor lies in a file. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** byte offset in the file */
  readonly offset: number;
  readonly bytes: number;
}

/** The format's own limit for a header: a larger length is corrupt. */
const MAX_HEADER_BYTES = 100_000_000;

/** Length of the JSON header in bytes, from a file's first 8 bytes. Throws CorruptError naming the file, `where`. */
export function headerLength(first8: Uint8Array, where: string): number {
  if (first8.length < 8)
    throw new CorruptError("a safetensors file is shorter than its length field", { file: where, bytes: first8.length });
  const length = Number(new DataView(first8.buffer, first8.byteOffset, 8).getBigUint64(0, true));
  if (length < 2 || length > MAX_HEADER_BYTES)
    throw new CorruptError("a safetensors header has an impossible length", {
      file: where,
      expected: `2 to ${MAX_HEADER_BYTES}`,
      got: length,
    });
  return length;
}

/**
 * Reads a header and checks it: offsets are contiguous, sizes follow from shapes, and no byte of the file is left over. Throws
 * CorruptError naming the file, `where`.
 */
export function parseHeader(header: Uint8Array, fileBytes: number, where: string): TensorEntry[] {
  let json: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] } | null> | null;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(header)) as typeof json;
  } catch (error) {
    throw new CorruptError("a safetensors header is not JSON", { file: where }, { cause: error });
  }
  const start = 8 + header.length;
  const entries = Object.entries(json ?? {})
    .filter(([name]) => name !== "__metadata__")
    .map(([name, tensor]): TensorEntry => {
      if (tensor === null) throw new CorruptError("a safetensors header has a tensor without description", { file: where, tensor: name });
      const { dtype, shape, data_offsets: range } = tensor;
      if (!Object.hasOwn(DTYPE_BYTES, dtype))
        throw new CorruptError("a tensor has an unknown dtype", { file: where, tensor: name, got: dtype });
      if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && size >= 0) || !Array.isArray(range))
        throw new CorruptError("a tensor has a malformed shape or range", { file: where, tensor: name });
      const bytes = shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype as DType]);
      if (range[1] - range[0] !== bytes)
        throw new CorruptError("a tensor's range does not fit its shape", {
          file: where,
          tensor: name,
          expected: bytes,
          got: range[1] - range[0],
        });
      return { name, dtype: dtype as DType, shape, offset: start + range[0], bytes };
    })
    .sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = start;
  for (const entry of entries) {
    if (entry.offset !== end)
      throw new CorruptError("tensors overlap or leave a gap", { file: where, tensor: entry.name, expected: end, got: entry.offset });
    end += entry.bytes;
  }
  if (end !== fileBytes)
    throw new CorruptError("a safetensors file has the wrong size: truncated or overwritten", {
      file: where,
      expected: end,
      got: fileBytes,
    });
  return entries;
}

/** Lays out a file of tensors, larger dtypes first, then by name: its header with the length field, and where each tensor lies. */
export function layoutFile(tensors: readonly { readonly name: string; readonly dtype: DType; readonly shape: readonly number[] }[]): {
  readonly header: Uint8Array;
  readonly entries: readonly TensorEntry[];
  readonly fileBytes: number;
} {
  const sorted = [...tensors].sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype] || (a.name < b.name ? -1 : 1));
  const json: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let end = 0;
  const placed = sorted.map(({ name, dtype, shape }) => {
    const bytes = shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype]);
    const begin = end;
    end += bytes;
    json[name] = { dtype, shape, data_offsets: [begin, end] };
    return { name, dtype, shape, begin, bytes };
  });
  const text = new TextEncoder().encode(JSON.stringify(json));
  // spaces up to a multiple of 8 keep the tensors aligned
  const header = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(text, 8);
  const entries = placed.map(({ begin, ...entry }) => ({ ...entry, offset: header.length + begin }));
  return { header, entries, fileBytes: header.length + end };
}
