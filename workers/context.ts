import { setTimeout as sleep } from "node:timers/promises";
import { CancelledFailure, Context } from "@temporalio/activity";
import { ApplicationFailure } from "@temporalio/common";
import type { StageContext } from "../activities/common/stage.js";
import { DiskFullError, FencedError, messageOf, NON_RETRYABLE, WorkerDiedError } from "../core/errors.js";
import type { Progress } from "../core/stages/results.js";
import { duration } from "../core/units.js";
import { outgoingDetails } from "./outgoing.js";
import { beginAttempt, failAttempt, givenUp, MOST_FAILURES, reach, stopAttempt, waitBefore, type AttemptCount } from "./attempt-count.js";

/** How often what is known is sent; the worker lets one of two seconds through. */
const BEAT_MS = 1000;

/**
 * How long things last. Work that has not moved for `stallMs` has hung: it is stopped, and tried again. Where it has not
 * stopped `settleMs` later, its process ends: it would hold its locks and, of a GPU worker, the only place for ever. The
 * attempt after a first failure waits for `waitMs` before its work begins.
 */
const TIMES = { stallMs: 15 * 60_000, settleMs: 60_000, waitMs: 500 };

/** What a heartbeat of an activity says: how far the work is, and the count of its failures. */
type Details = Partial<Progress> & { readonly attempts?: AttemptCount };

/**
 * Runs a stage inside a Temporal activity: progress goes out as heartbeats, and cancel, pause and shutdown come in as
 * an aborted signal. Between two words of progress the last one is repeated, since one step may take minutes. The server
 * tries again for ever; the work is given up after MOST_FAILURES failures in a row that got no further.
 */
export async function inActivity<T>(work: (context: StageContext) => Promise<T>, times: Partial<typeof TIMES> = {}): Promise<T> {
  const { stallMs, settleMs, waitMs } = { ...TIMES, ...times };
  const activity = Context.current();
  const controller = new AbortController();
  const { attempts: before, ...told } = (activity.info.heartbeatDetails ?? {}) as Details;
  let count = beginAttempt(before, activity.info.attempt);
  let last: Details = told;
  const say = (): void => activity.heartbeat(outgoingDetails({ ...last, attempts: count } satisfies Details));
  /** milliseconds of beats without movement: by a clock, a machine that slept would have hung */
  let still = 0;
  let asked = false;
  const stop = (): void => {
    asked = !controller.signal.aborted;
    controller.abort(stopReason(activity));
  };
  activity.cancellationSignal.addEventListener("abort", stop, { once: true });
  if (activity.cancellationSignal.aborted) stop();
  const beat = setInterval(() => {
    still += BEAT_MS;
    if (still > stallMs + settleMs) {
      console.error(`${activity.info.activityId} has hung, and does not stop: this worker ends, and another goes on from what is saved`);
      process.exit(1);
    }
    if (still <= stallMs) return say();
    controller.abort(ApplicationFailure.retryable(`nothing has moved for ${duration(stallMs / 1000)}`, "Stalled"));
  }, BEAT_MS);
  say();
  try {
    if (count.failures >= MOST_FAILURES) throw new WorkerDiedError(count.last);
    if (count.failures > 0) await sleep(waitBefore(count, waitMs), undefined, { signal: controller.signal });
    still = 0;
    return await work({
      signal: controller.signal,
      progress: (progress) => {
        still = 0;
        last = finite(progress);
        count = reach(count, progress.done);
        say();
      },
    });
  } catch (error) {
    // whatever an aborted operation threw, this is why
    const cause: unknown = controller.signal.aborted ? controller.signal.reason : explained(error);
    if (asked) count = stopAttempt(count);
    // deaths alone have used it up: this attempt has not begun
    else if (count.failures < MOST_FAILURES) count = failAttempt(count, messageOf(cause));
    say();
    throw asked || count.failures < MOST_FAILURES || isFinal(cause) ? cause : lastFailure(cause, count);
  } finally {
    clearInterval(beat);
    activity.cancellationSignal.removeEventListener("abort", stop);
  }
}

/** Whether nothing is tried again after an error anyway; what is fenced is, around training's attempts. */
function isFinal(error: unknown): boolean {
  return error instanceof Error && !(error instanceof FencedError) && NON_RETRYABLE.includes(error.name);
}

/** A failure that the server does not try again, because there were too many. */
function lastFailure(error: unknown, count: AttemptCount): ApplicationFailure {
  const type = error instanceof ApplicationFailure ? error.type : error instanceof Error ? error.name : undefined;
  const cause = error instanceof Error ? { cause: error } : {};
  return ApplicationFailure.create({ message: givenUp(count, messageOf(error)), type: type ?? "Error", nonRetryable: true, ...cause });
}

/** What the UI says of a full disk: what to do, and that nothing else is needed. */
function explained(error: unknown): unknown {
  const message = messageOf(error);
  if (!/\b(ENOSPC|EDQUOT)\b/.test(message)) return error;
  return new DiskFullError(`the disk is full: make room, and the run goes on by itself: ${message}`);
}

/** A shutdown is a failure that is tried again; everything else is what Temporal takes it for. */
function stopReason(activity: Context): Error {
  if (activity.cancellationDetails?.workerShutdown === true)
    return ApplicationFailure.create({ message: "the worker was stopped", type: "WorkerShutdown" });
  const reason: unknown = activity.cancellationSignal.reason;
  return reason instanceof Error ? reason : new CancelledFailure("the activity was cancelled");
}

/** Heartbeats are JSON, and a number that it lacks would break all later ones; the UI shows them, where six digits are enough. */
function finite(progress: Progress): Progress {
  return Object.fromEntries(
    Object.entries(progress).flatMap(([name, value]: [string, unknown]) => {
      if (typeof value !== "number" || Number.isInteger(value)) return [[name, value]];
      return Number.isFinite(value) ? [[name, Number(value.toPrecision(6))]] : [];
    }),
  ) as unknown as Progress;
}
