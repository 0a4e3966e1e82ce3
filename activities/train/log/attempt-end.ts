import { rm } from "node:fs/promises";
import { join } from "node:path";
import { hostedShards } from "../../../core/training/slices.js";
import type { CommitLog } from "./commit-log.js";
import { repeatedLoss, TIMES } from "./poison.js";
import type { AttemptEntry, EndEntry, Loss } from "./entries.js";
import { readWhereabouts, WHEREABOUTS, type Whereabouts } from "./whereabouts.js";

/** What the next attempt makes of the end of the last one. */

type End = Pick<EndEntry, "what" | "message" | "lost">;

/**
 * Writes into the log how its last attempt ended; null when that is there already, or when no worker left word.
 * `seen`: the process that started the workers lives. Otherwise all were killed together, and no step is to blame.
 */
export async function noteEnd(
  log: CommitLog,
  directory: string,
  shards: number,
  processStart: (pid: number) => string | null,
  seen: boolean,
): Promise<EndEntry | null> {
  const end = await findEnd(log, directory, shards, processStart, seen);
  let number: number | null = null;
  if (end !== null) {
    const repeated = end.lost.length === 0 ? null : repeatedLoss(log.entries, end.lost);
    const poison = repeated !== null && repeated.times >= TIMES ? repeated : null;
    number = await log.append({ kind: "end", ...end, poison });
  }
  await rm(join(directory, WHEREABOUTS), { recursive: true, force: true, maxRetries: 3 });
  return number === null ? null : (log.entries[number - 1] as EndEntry);
}

/** How the last attempt of a log ended, as `noteEnd` would write it; null when that is there already, or when no worker left word. */
export async function findEnd(
  log: Pick<CommitLog, "entries">,
  directory: string,
  shards: number,
  processStart: (pid: number) => string | null,
  seen: boolean,
): Promise<(End & Pick<EndEntry, "generation">) | null> {
  const generation = log.entries.findLastIndex((entry) => entry.kind === "attempt") + 1;
  const noted = log.entries.some((entry) => entry.kind === "end" && entry.generation === generation);
  const left = noted || generation === 0 ? [] : await readWhereabouts(directory, generation);
  if (left.length === 0) return null;
  const { workers } = log.entries[generation - 1] as AttemptEntry;
  const dead = left.filter(({ ended, pid, started }) =>
    ended === null ? started === null || processStart(pid) !== started : ended.how === "died",
  );
  return { generation, ...describe(left, dead, workers, shards, seen) };
}

/** The first cause comes first: workers that died, then those asked to stop, then those that failed; the rest heard of it. */
function describe(left: readonly Whereabouts[], dead: readonly Whereabouts[], workers: number, shards: number, seen: boolean): End {
  const calm = { message: null, lost: [] };
  if (dead.length > 0) {
    if (!seen) return { ...calm, what: "everything was killed" };
    if (dead.length === workers && workers > 1) return { ...calm, what: `all ${workers} workers died at once` };
    const lost = dead.flatMap(({ worker, step, shard }): Loss[] =>
      step === null ? [] : [{ worker, step, shards: hostedShards(shards, workers, worker), shard }],
    );
    return { ...calm, what: `${list(dead)} of ${workers} died${afterSteps(dead)}`, lost };
  }
  const silent = left.filter(({ ended }) => ended === null);
  if (silent.length > 0) return { ...calm, what: `${list(silent)} of ${workers} did not answer${afterSteps(silent)}` };
  const first = (["asked", "failed", "told", "done"] as const).flatMap((how) => left.filter(({ ended }) => ended?.how === how))[0];
  const message = first?.ended?.message ?? null;
  if (first?.ended?.how === "asked") return { ...calm, what: `told to stop${plain(message!)}`, message };
  if (first?.ended?.how === "done") {
    const outgrown = left.some(({ ended }) => ended?.message === "outgrown");
    return { ...calm, what: outgrown ? "ended as planned, for more workers were there" : "all was saved", message };
  }
  return { ...calm, what: first?.ended?.how === "failed" ? "an error" : "a worker was lost", message };
}

/** ": the worker was stopped", or nothing when the words may name somebody's files. */
function plain(message: string): string {
  return /^[\w ]{1,80}$/.test(message) ? `: ${message}` : "";
}

function list(workers: readonly Whereabouts[]): string {
  return `worker${workers.length === 1 ? "" : "s"} ${workers.map(({ worker }) => worker).join(" and ")}`;
}

/** " after 7 steps": nothing of workers that had not begun. */
function afterSteps(workers: readonly Whereabouts[]): string {
  const steps = [...new Set(workers.flatMap(({ step }) => (step === null ? [] : [step])))].join(" and ");
  return steps === "" ? "" : ` after ${steps} step${steps === "1" ? "" : "s"}`;
}
