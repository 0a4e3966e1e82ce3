import { batchesOf, ReaderThread } from "./reader-thread.js";
import type { FileBatch } from "./row.js";

/** Reads a Parquet file in a thread of its own. */
export function readParquet(path: string, signal: AbortSignal, columns: readonly string[]): AsyncGenerator<FileBatch> {
  return batchesOf(new ReaderThread("parquet-thread.js", { path, columns }, signal, { file: path, what: "a whole Parquet file" }));
}
