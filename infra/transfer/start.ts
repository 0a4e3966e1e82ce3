import { open } from "node:fs/promises";
import { TIMING, withRetries } from "../http/retries.js";
import { NoRangesError } from "../http/web.js";
import type { WantedBlob } from "./blob.js";
import type { ReadBytes } from "./source.js";

/** The first `length` bytes of a file, from the cache if it lies there; null: its source sends whole files only. */
export async function readStart(
  { blob, source }: Pick<WantedBlob, "blob" | "source">,
  length: number,
  signal: AbortSignal,
): Promise<{ readonly bytes: Uint8Array; readonly fetched: number } | null> {
  const cached = await startOf(blob, length);
  if (cached !== null) return { bytes: cached, fetched: 0 };
  const { read } = (await import(source.module)) as { readonly read: ReadBytes<unknown> };
  const bytes = new Uint8Array(length);
  let done = 0;
  const take = (chunk: Uint8Array): void => {
    bytes.set(chunk, done);
    done += chunk.length;
  };
  try {
    await withRetries(
      source.timing ?? TIMING,
      { signal },
      () => 0,
      async () => {
        done = 0;
        await read(source.place, { start: 0, end: length }, { take, room: () => null });
      },
    );
    return { bytes, fetched: length };
  } catch (error) {
    if (error instanceof NoRangesError) return null;
    throw error;
  }
}

/** The first bytes of a file that is here whole; null: it is not. */
async function startOf(path: string, length: number): Promise<Uint8Array | null> {
  const file = await open(path, "r").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (file === null) return null;
  try {
    const bytes = new Uint8Array(length);
    const { bytesRead } = await file.read(bytes, 0, length, 0);
    return bytesRead === length ? bytes : null;
  } finally {
    await file.close();
  }
}
