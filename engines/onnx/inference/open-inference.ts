import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { Thread } from "../../../infra/process/thread.js";
import { hasAdapter } from "../../../infra/weights/adapter-files.js";
import type { InferenceModel, Score } from "../../inference.js";
import type { Answer, NewTokens, Question } from "./inference-thread.js";

/**
 * Reads a model directory into a new thread, with the adapter in the directory `adapter`, by default the one that lies beside
 * the model, if there is one. Throws UserError or CorruptError for what is wrong with them; an aborted signal ends the thread.
 */
export async function openInference(
  directory: string,
  signal: AbortSignal,
  adapter: string | null = hasAdapter(directory) ? directory : null,
): Promise<InferenceModel> {
  signal.throwIfAborted();
  const stopping = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL("inference-thread.js", import.meta.url), {
    workerData: { directory, adapter, threads: availableParallelism(), stopping },
  });
  const thread = new Thread<Question, Answer, never, "stop">(worker, { signal, end: "the thread of a model ended" });
  const closed = new AbortController();
  // the thread ends by itself, between two weights or two answers: one that is terminated inside a native call may take the process along
  const stop = (): void => {
    Atomics.store(stopping, 0, 1);
    thread.tell("stop");
  };
  signal.addEventListener("abort", stop, { once: true, signal: closed.signal });

  const close = async (): Promise<void> => {
    closed.abort();
    stop();
    await thread.ended;
  };
  const ask = async <T extends Answer>(question: Question): Promise<T> => (await thread.ask(question)) as T;

  try {
    await ask({ open: true });
  } catch (error) {
    await close();
    throw error;
  }
  return {
    // a view would take its whole buffer along
    score: (rows) => ask<Score>({ score: rows.map((row) => ({ ...row, inputIds: row.inputIds.slice(), labels: row.labels.slice() })) }),
    async *generate(prompts, { isLast = () => false, ...options } = {}) {
      let { tokens } = await ask<NewTokens>({ prompts, options });
      try {
        while (tokens !== null) {
          const ended: number[] = [];
          for (const said of tokens) {
            yield said;
            if (isLast(said)) ended.push(said.sequence);
          }
          ({ tokens } = await ask<NewTokens>({ ended }));
        }
      } finally {
        // the caches of an answer that nobody waits for any more are given back
        if (tokens !== null && thread.failure === null) await ask({ ended: null });
      }
    },
    close,
  };
}
