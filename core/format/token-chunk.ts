import { IdBuffer } from "../text/id-buffer.js";
import type { TokenRow } from "../rows/token-rows.js";
import { CorruptError } from "../errors.js";
import { headerLength, layoutFile, parseHeader } from "./safetensors.js";

/**
 * Makes a chunk file, which is safetensors of I32: input_ids [T] and labels [T], rows end to end; offsets [rows + 1], where
 * each row starts; source [rows], the 0-based index of each row in the dataset.
 */
export function encodeChunk(
  rows: Iterable<{ readonly source: number; readonly inputIds: ArrayLike<number>; readonly labels: ArrayLike<number> }>,
): Uint8Array {
  const tensors = { input_ids: new IdBuffer(), labels: new IdBuffer(), offsets: new IdBuffer(), source: new IdBuffer() };
  tensors.offsets.append([0]);
  for (const { source, inputIds, labels } of rows) {
    tensors.input_ids.append(inputIds);
    tensors.labels.append(labels);
    tensors.source.append([source]);
    tensors.offsets.append([tensors.input_ids.length]);
  }
  const specs = Object.entries(tensors).map(([name, { length }]) => ({ name, dtype: "I32" as const, shape: [length] }));
  const { header, entries, fileBytes } = layoutFile(specs);
  const file = new Uint8Array(fileBytes);
  file.set(header);
  for (const { name, offset } of entries) {
    const ids = tensors[name as keyof typeof tensors].view();
    new Int32Array(file.buffer, offset, ids.length).set(ids);
  }
  return file;
}

/**
 * The rows of a chunk file, as views of `file`, which must start at a multiple of 4 in its buffer. Throws CorruptError
 * naming the file, `where`.
 */
export function decodeChunk(file: Uint8Array, where: string): TokenRow[] {
  const header = file.subarray(8, 8 + headerLength(file.subarray(0, 8), where));
  const entries = new Map(parseHeader(header, file.length, where).map((entry) => [entry.name, entry]));
  const tensor = (name: string): Int32Array => {
    const entry = entries.get(name);
    if (entry?.dtype !== "I32") throw new CorruptError("a token file lacks a tensor", { file: where, tensor: name });
    return new Int32Array(file.buffer, file.byteOffset + entry.offset, entry.bytes / 4);
  };
  const [inputIds, labels, offsets, sources] = ["input_ids", "labels", "offsets", "source"].map(tensor) as [
    Int32Array,
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  return Array.from(sources, (source, row) => ({
    source,
    inputIds: inputIds.subarray(offsets[row], offsets[row + 1]),
    labels: labels.subarray(offsets[row], offsets[row + 1]),
  }));
}
