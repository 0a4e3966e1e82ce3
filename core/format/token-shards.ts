import { z } from "zod";
import { CorruptError } from "../errors.js";
import type { TokenRow } from "../data/tokens.js";
import { headerLength, layoutFile, parseHeader } from "./safetensors.js";

/** A tokenized dataset: a directory of chunk files and an index that names them with their digests. */

/** Name of the index in the directory. */
export const TOKEN_INDEX = "index.json";

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const index = z.object({
  version: z.literal(1),
  /** digests of what the tokens were made from */
  inputs: z.object({ model: digest, dataset: digest }),
  /** in order of the source; `rows` counts those in the file */
  chunks: z.array(z.object({ file: z.string().regex(/^[0-9]+\.safetensors$/), sha256: digest, bytes: z.int(), rows: z.int() })),
  /** which of all chunks' rows, counted from 0 in order, are the test split; ascending */
  test: z.array(z.int()),
});

/** The index of a tokenized dataset. */
export type TokenIndex = z.infer<typeof index>;

/** Reads an index; CorruptError names the file. */
export function parseTokenIndex(text: string, where: string): TokenIndex {
  try {
    return index.parse(JSON.parse(text));
  } catch (error) {
    throw new CorruptError("a tokenized dataset's index is damaged: run the preprocess stage again", { file: where }, { cause: error });
  }
}

/**
 * One chunk file, as safetensors of I32: input_ids [T] and labels [T], rows end to end; offsets [rows + 1], where each
 * row starts; source [rows], its 0-based index in the dataset.
 */
export function encodeChunk(
  rows: readonly { readonly source: number; readonly inputIds: ArrayLike<number>; readonly labels: ArrayLike<number> }[],
): Uint8Array {
  const length = rows.reduce((sum, row) => sum + row.inputIds.length, 0);
  const sizes = { input_ids: length, labels: length, offsets: rows.length + 1, source: rows.length };
  const { header, entries, fileBytes } = layoutFile(Object.entries(sizes).map(([name, size]) => ({ name, dtype: "I32", shape: [size] })));
  const file = new Uint8Array(fileBytes);
  file.set(header);
  const tensor = (name: keyof typeof sizes): Int32Array =>
    new Int32Array(file.buffer, entries.find((entry) => entry.name === name)!.offset, sizes[name]);
  const [inputIds, labels, offsets, sources] = [tensor("input_ids"), tensor("labels"), tensor("offsets"), tensor("source")];
  let end = 0;
  for (const [index, row] of rows.entries()) {
    inputIds.set(row.inputIds, end);
    labels.set(row.labels, end);
    sources[index] = row.source;
    end += row.inputIds.length;
    offsets[index + 1] = end;
  }
  return file;
}

/** The rows of a chunk file, as views of `file`, whose buffer it must start at a multiple of 4. CorruptError names the file. */
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
