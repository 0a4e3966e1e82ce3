import { runRank, type RankDeps, type RankWork } from "../activities/train/rank/rank.js";
import { messageOf } from "../core/errors.js";
import type { Progress } from "../core/stages/results.js";
import type { RankResult } from "../workflows/contract.js";

/** What a rank's process of `roslin stage train` does; its parent speaks to it over Node's channel. */

/** From the parent: the work, or a word to stop. */
export type FromParent = RankWork | "stop";
/** To the parent. */
export type ToParent =
  /** every second: the process is not frozen */
  | { readonly kind: "alive" }
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "result"; readonly result: RankResult }
  | { readonly kind: "failed"; readonly name: string; readonly message: string };

const BEAT_MS = 1000;

/** Waits for the work, does it, says how it ended, and lets the process end. */
export function serveRank(deps: RankDeps): void {
  const stop = new AbortController();
  const say = (message: ToParent): void => {
    if (process.connected) process.send!(message);
  };
  // it keeps no process that has done its work
  setInterval(() => say({ kind: "alive" }), BEAT_MS).unref();
  const work = async (input: RankWork): Promise<void> => {
    try {
      const progress = (each: Progress): void => say({ kind: "progress", progress: each });
      say({ kind: "result", result: await runRank(deps, input, { signal: stop.signal, progress }) });
    } catch (error) {
      say({ kind: "failed", name: (error as Error).name, message: messageOf(error) });
    }
    process.disconnect();
  };
  process.on("message", (input: FromParent) => {
    if (input === "stop") stop.abort(new Error("training was asked to stop"));
    else void work(input);
  });
  // Ctrl-C reaches the whole group of processes; the parent decides what it means
  process.on("SIGINT", () => undefined);
  process.on("SIGTERM", () => stop.abort(new Error("the worker was asked to stop")));
  // without its parent a rank has nobody to work for
  process.on("disconnect", () => process.exit(1));
}
