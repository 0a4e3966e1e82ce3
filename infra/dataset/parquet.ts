import { Worker } from "node:worker_threads";
import { errorNamed, UserError } from "../../core/errors.js";
import { messagesOf } from "../process/threads.js";
import type { ParquetAnswer } from "./parquet-thread.js";
import type { RowBatch } from "./row.js";

/** What a slice of rows may take at most: beyond it, a page claims more values than it has. */
const MOST = { megabytes: 1536, milliseconds: 5 * 60_000 };

/** Reads a Parquet file in a thread of its own: what a damaged one does to it, loops and lost errors too, ends the thread alone. */
export async function* readParquet(path: string, signal: AbortSignal): AsyncGenerator<RowBatch> {
  const thread = new Worker(new URL("parquet-thread.js", import.meta.url), {
    workerData: path,
    resourceLimits: { maxOldGenerationSizeMb: MOST.megabytes },
  });
  const heard = messagesOf<ParquetAnswer>(thread, signal, "its pages have no end");
  const ask = async (): Promise<ParquetAnswer> => {
    const late = setTimeout(() => void thread.terminate(), MOST.milliseconds);
    try {
      thread.postMessage("next");
      return await heard();
    } catch (error) {
      signal.throwIfAborted();
      throw new UserError("a data file is not a whole Parquet file", { file: path }, { cause: error });
    } finally {
      clearTimeout(late);
    }
  };
  try {
    for (;;) {
      const answer = await ask();
      if (answer.kind === "end") return;
      if (answer.kind === "failed") throw errorNamed(answer.name, answer.message);
      yield answer.batch;
    }
  } finally {
    await thread.terminate();
  }
}
