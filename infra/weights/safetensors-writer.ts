import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { layoutFile, type DType } from "../../core/format/safetensors.js";
import { placeFile } from "../disk/files.js";

/** A tensor that is to be written. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** Bytes hashed and written at a time, so that the event loop turns in between. */
const WRITE_BYTES = 8 << 20;

/**
 * Writes a safetensors file whole or not at all, digesting on the way. `bytesOf` yields a tensor's bytes in order;
 * tensors are asked for in the order of the file, which for one dtype is that of their names.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorSpec[],
  bytesOf: (name: string) => Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<{ readonly sha256: string; readonly bytes: number }> {
  const { header, entries, fileBytes } = layoutFile(tensors);
  const hash = createHash("sha256");
  const fill = async (file: FileHandle): Promise<void> => {
    const write = async (bytes: Uint8Array): Promise<void> => {
      for (let at = 0; at < bytes.length; at += WRITE_BYTES) {
        const part = bytes.subarray(at, at + WRITE_BYTES);
        hash.update(part);
        await file.writeFile(part);
      }
    };
    await write(header);
    for (const { name } of entries) for await (const bytes of bytesOf(name)) await write(bytes);
  };
  await placeFile(path, fill, { bytes: fileBytes });
  return { sha256: hash.digest("hex"), bytes: fileBytes };
}
