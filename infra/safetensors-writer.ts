import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { layoutFile, type DType } from "../core/format/safetensors.js";
import { syncDirectory } from "./files.js";

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
  bytesOf: (name: string) => Iterable<Uint8Array>,
): Promise<{ readonly sha256: string; readonly bytes: number }> {
  const { header, entries, fileBytes } = layoutFile(tensors);
  await mkdir(dirname(path), { recursive: true });
  // two writers in one process must not share it
  const temporary = `${path}.${randomUUID()}.tmp`;
  const hash = createHash("sha256");
  try {
    const file = await open(temporary, "w");
    try {
      const write = async (bytes: Uint8Array): Promise<void> => {
        for (let at = 0; at < bytes.length; at += WRITE_BYTES) {
          const part = bytes.subarray(at, at + WRITE_BYTES);
          hash.update(part);
          await file.writeFile(part);
        }
      };
      await write(header);
      for (const { name } of entries) for (const bytes of bytesOf(name)) await write(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
  return { sha256: hash.digest("hex"), bytes: fileBytes };
}
