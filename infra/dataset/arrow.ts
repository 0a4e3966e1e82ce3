import { batchesOf, ReaderThread } from "./reader-thread.js";
import type { FileBatch } from "./row.js";

/** Reads an Arrow file, of the stream format (which save_to_disk writes) or the file format (Feather), in a thread of its own. */
export function readArrow(path: string, signal: AbortSignal, columns: readonly string[]): AsyncGenerator<FileBatch> {
  return batchesOf(new ReaderThread("arrow-thread.js", { path, columns }, signal, { file: path, what: "a whole Arrow file" }));
}
