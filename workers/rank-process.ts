import { messageOf } from "../core/errors.js";
import type { Progress } from "../core/stages/stage.js";
import { rankDeps } from "./train-deps.js";
import { runRank } from "../activities/train/rank/rank.js";
import type { RankOutcome, TrainAttempt } from "../activities/train/log/entries.js";

/** Entry of a worker process of `roslin stage train`, which is spoken to over Node's channel to the parent. */

/** From the parent: the work, or a word to stop. */
export type RankInput = { readonly attempt: TrainAttempt; readonly worker: number } | "stop";
/** To the parent. */
export type RankReport =
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "outcome"; readonly outcome: RankOutcome }
  | { readonly kind: "failed"; readonly name: string; readonly message: string };

const stop = new AbortController();
const report = (message: RankReport): void => {
  if (process.connected) process.send!(message);
};

process.on("message", (input: RankInput) => {
  if (input === "stop") stop.abort(new Error("training was asked to stop"));
  else void work(input);
});
// Ctrl-C reaches the whole group of processes; the parent decides what it means
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => stop.abort(new Error("the worker was asked to stop")));
// without its parent a worker has nobody to work for
process.on("disconnect", () => process.exit(1));

async function work(input: Exclude<RankInput, "stop">): Promise<void> {
  try {
    const progress = (each: Progress): void => report({ kind: "progress", progress: each });
    report({ kind: "outcome", outcome: await runRank(rankDeps, input, { signal: stop.signal, progress }) });
  } catch (error) {
    report({ kind: "failed", name: (error as Error).name, message: messageOf(error) });
  }
  process.disconnect();
}
