import { Worker } from "node:worker_threads";
import { errorNamed, UserError } from "../../core/errors.js";
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
  const stop = (): void => void thread.terminate();
  signal.addEventListener("abort", stop, { once: true });
  const ask = async (): Promise<ParquetAnswer> => {
    const late = setTimeout(stop, MOST.milliseconds);
    try {
      return await new Promise((resolve, reject) => {
        const fail = (cause: Error): void => reject(new UserError("a data file is not a whole Parquet file", { file: path }, { cause }));
        thread.removeAllListeners();
        thread.once("message", resolve).once("error", fail);
        thread.once("exit", () => (signal.aborted ? reject(signal.reason as Error) : fail(new Error("its pages have no end"))));
        thread.postMessage("next");
      });
    } finally {
      clearTimeout(late);
    }
  };
  try {
    for (;;) {
      signal.throwIfAborted();
      const answer = await ask();
      if (answer.kind === "end") return;
      if (answer.kind === "failed") throw errorNamed(answer.name, answer.message);
      yield answer.batch;
    }
  } finally {
    signal.removeEventListener("abort", stop);
    thread.removeAllListeners();
    await thread.terminate();
  }
}
