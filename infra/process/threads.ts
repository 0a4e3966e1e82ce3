import { once } from "node:events";
import type { Worker } from "node:worker_threads";

/**
 * Gives a thread's next message at every call. Throws the signal's reason, or what the thread died of, though that was
 * between two calls; `end`: in words, where it ended without an error.
 */
export function messagesOf<T>(thread: Worker, signal: AbortSignal, end: string): () => Promise<T> {
  const dead = new AbortController();
  thread.on("error", (error) => dead.abort(error)).once("exit", () => dead.abort(new Error(end)));
  const over = AbortSignal.any([signal, dead.signal]);
  return async () => {
    try {
      const [message] = (await once(thread, "message", { signal: over })) as [T];
      return message;
    } catch {
      throw over.reason;
    }
  };
}
