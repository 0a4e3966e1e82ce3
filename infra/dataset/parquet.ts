import { Worker } from "node:worker_threads";
import { UserError } from "../../core/errors.js";
import { Thread } from "../process/thread.js";
import type { FileBatch } from "./row.js";

/** The most that a slice of rows may take: if one takes more, a page claims more values than it has. */
const LIMITS = { megabytes: 1536, milliseconds: 5 * 60_000 };

/** Reads a Parquet file in a thread of its own: a damaged file can make its reader loop or lose errors, and then it ends that thread alone. */
export async function* readParquet(path: string, signal: AbortSignal, columns: readonly string[]): AsyncGenerator<FileBatch> {
  const worker = new Worker(new URL("parquet-thread.js", import.meta.url), {
    workerData: { path, columns },
    resourceLimits: { maxOldGenerationSizeMb: LIMITS.megabytes },
  });
  const thread = new Thread<"next", FileBatch | null>(worker, { signal, end: "its pages have no end" });
  const next = async (): Promise<FileBatch | null> => {
    const late = setTimeout(() => void worker.terminate(), LIMITS.milliseconds);
    try {
      return await thread.ask("next");
    } catch (error) {
      signal.throwIfAborted();
      if (thread.failure === null) throw error;
      throw new UserError("a data file is not a whole Parquet file", { file: path }, { cause: error });
    } finally {
      clearTimeout(late);
    }
  };
  try {
    for (let batch = await next(); batch !== null; batch = await next()) yield batch;
  } finally {
    await thread.terminate();
  }
}
