import { parentPort, workerData } from "node:worker_threads";
import type { TokenRow } from "../../../core/rows/token-rows.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { loadModel, type Score } from "./model.js";

/** Entry of the thread in which a model computes: a graph's run blocks its thread, and the main one has heartbeats to send. */

/** What the main thread asks, one question at a time. */
export type Question =
  | { readonly score: readonly TokenRow[] }
  | { readonly start: readonly number[] }
  | { readonly next: true }
  | { readonly stop: true };
/** What the thread answers. */
export type Answer =
  | Score
  | { readonly token: number | null }
  | { readonly ready: true }
  | { readonly error: { readonly name: string; readonly message: string } };

const port = parentPort!;
const { directory, threads, stopping } = workerData as { directory: string; threads: number; stopping: Int32Array };
const answer = (value: Answer): void => port.postMessage(value);
const failed = (error: unknown): void => {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  answer({ error: { name, message } });
};

try {
  const model = await loadModel(new ModelFiles(directory), threads, () => Atomics.load(stopping, 0) === 1);
  let tokens: AsyncGenerator<number> | null = null;
  const reply = async (question: Exclude<Question, { stop: true }>): Promise<Answer> => {
    if ("score" in question) return await model.score(question.score);
    if ("start" in question) tokens = model.generate(question.start);
    const next = await tokens!.next();
    return { token: next.done === true ? null : next.value };
  };
  port.on("message", (question: Question) => {
    if ("stop" in question) void model.close().finally(() => port.close());
    else void reply(question).then(answer, failed);
  });
  answer({ ready: true });
} catch (error) {
  failed(error);
}
