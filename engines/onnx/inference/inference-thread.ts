import { parentPort, workerData } from "node:worker_threads";
import type { TokenRow } from "../../../core/rows/token-rows.js";
import { serve } from "../../../infra/process/thread.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import type { GeneratedToken, GenerationOptions, Score } from "../../inference.js";
import { loadModel, type LoadedModel } from "./model.js";

/** Entry of the thread in which a model computes: a graph's run blocks its thread, and the main one has heartbeats to send. */

/** What the main thread asks, one question at a time; `open` is answered when the model is ready. */
export type Question =
  | { readonly open: true }
  | { readonly score: readonly TokenRow[] }
  | { readonly prompts: readonly (readonly number[])[]; readonly options: GenerationOptions }
  /** sequences that have ended meanwhile; null: all have */
  | { readonly ended: readonly number[] | null };
/** What the thread answers. */
export type Answer = Score | NewTokens | { readonly ready: true };
/** The new tokens of a step; null: there are no more. */
export interface NewTokens {
  readonly tokens: readonly GeneratedToken[] | null;
}

const { directory, adapter, threads, stopping } = workerData as {
  directory: string;
  adapter: string | null;
  threads: number;
  stopping: Int32Array;
};
const opening = open();
// the question that opens hears of a failure
opening.catch(() => undefined);
let steps: ReturnType<LoadedModel["generate"]> | null = null;

async function open(): Promise<LoadedModel> {
  return loadModel(new ModelFiles(directory), threads, () => Atomics.load(stopping, 0) === 1, adapter);
}

async function answer(question: Question): Promise<Answer> {
  const model = await opening;
  if ("open" in question) return { ready: true };
  if ("score" in question) return await model.score(question.score);
  if ("prompts" in question) steps = model.generate(question.prompts, question.options);
  const next = "prompts" in question ? await steps!.next() : await goOn(question.ended);
  if (next.done === true) steps = null;
  return { tokens: next.done === true ? null : next.value };
}

async function goOn(ended: readonly number[] | null): Promise<IteratorResult<readonly GeneratedToken[], void>> {
  if (steps === null) return { done: true, value: undefined };
  return ended === null ? await steps.return() : await steps.next(ended);
}

async function stop(): Promise<void> {
  try {
    await (await opening).close();
  } finally {
    parentPort!.close();
  }
}

serve(answer, (_note: "stop") => {
  stop().catch(() => undefined);
});
