import { ActivityFailure, ApplicationFailure, CancelledFailure, TimeoutFailure } from "@temporalio/workflow";
import { NON_RETRYABLE } from "../core/errors.js";
import type { Verdict } from "../core/training/next-move.js";

/** Failures that say that a process went away, not that something is wrong with the work. */
const LOST: readonly string[] = ["PeerLostError", "StoppedError", "WorkerDiedError", "WorkerKilled", "RankEnded"];
/** What ranks fail with because of another rank. */
const TOLD: readonly string[] = ["PeerLostError", "StoppedError"];
/** Ends that somebody asked for. */
const ASKED: readonly string[] = ["WorkerShutdown", "ActivityPause", "ActivityReset"];

/** The failure below an activity's wrapper, which says nothing itself. */
export function causeOf(error: unknown): unknown {
  return error instanceof ActivityFailure && error.cause !== undefined ? error.cause : error;
}

/** Judges a rank's failure: fatal ends the run, an error may not repeat often, a lost process may, and what was asked for may always. */
export function judge(error: unknown): Verdict | "asked" {
  const cause = causeOf(error);
  if (cause instanceof TimeoutFailure || cause instanceof CancelledFailure) return "lost";
  if (!(cause instanceof ApplicationFailure)) return "error";
  const type = cause.type ?? "";
  // fenced while this run has the workers: by an attempt from before a reset, and the next one has the newest number
  if (type !== "FencedError" && NON_RETRYABLE.includes(type)) return "fatal";
  if (ASKED.includes(type)) return "asked";
  return LOST.includes(type) ? "lost" : "error";
}

/**
 * Whether an activity that an earlier version scheduled, with 20 attempts at most, has used them up, and somebody asked the
 * last one to stop. A worker that dies is another thing: the work may kill it every time.
 */
export function wasAskedToStop(error: unknown): boolean {
  const cause = causeOf(error);
  const usedUp = error instanceof ActivityFailure && error.retryState === "MAXIMUM_ATTEMPTS_REACHED";
  return usedUp && cause instanceof ApplicationFailure && ASKED.includes(cause.type ?? "");
}

/** Whether no worker took an activity in time: its machine is away. */
export function isSilentHost(error: unknown): boolean {
  const cause = causeOf(error);
  return cause instanceof TimeoutFailure && cause.timeoutType === "SCHEDULE_TO_START";
}

const WEIGHT: Readonly<Record<ReturnType<typeof judge>, number>> = { fatal: 0, error: 1, lost: 2, asked: 3 };

/** The failure that the others follow from: a worker that failed takes its peers with it. */
export function rootCause(errors: readonly unknown[]): unknown {
  const weight = (error: unknown): number => {
    const cause = causeOf(error);
    if (cause instanceof CancelledFailure) return 5;
    return cause instanceof ApplicationFailure && TOLD.includes(cause.type ?? "") ? 4 : WEIGHT[judge(error)];
  };
  return [...errors].sort((a, b) => weight(a) - weight(b))[0];
}

/** What a failure says of itself, whole. */
export function wordsOf(error: unknown): string {
  const cause = causeOf(error);
  if (cause instanceof TimeoutFailure) return `a worker was not heard of (${cause.timeoutType})`;
  return cause instanceof Error ? cause.message : String(cause);
}

/** One line about a failure, for the table of progress. */
export function describeFailure(error: unknown): string {
  return wordsOf(error).split("\n")[0]!.slice(0, 300);
}

/** A failure after which nothing is tried again, of the same type, in other words. */
export function lastFailure(error: unknown, message: string): ApplicationFailure {
  const cause = causeOf(error);
  return ApplicationFailure.create({
    message,
    type: (cause instanceof ApplicationFailure ? cause.type : undefined) ?? "StageFailed",
    nonRetryable: true,
    ...(cause instanceof Error ? { cause } : {}),
  });
}

/** A stage's failure as the run's own, so that the first line of the failed workflow says what happened. */
export function stageFailure(stage: string, error: unknown): ApplicationFailure {
  return lastFailure(error, `${stage}: ${wordsOf(error)}`);
}
