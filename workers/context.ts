import { CancelledFailure, Context } from "@temporalio/activity";
import { ApplicationFailure } from "@temporalio/common";
import type { StageContext } from "../activities/common/stage.js";
import { DiskFullError, messageOf } from "../core/errors.js";
import type { Progress } from "../core/stages/results.js";
import { duration } from "../core/units.js";

/** How often what is known is sent; the worker lets one of two seconds through. */
const BEAT_MS = 1000;

/**
 * Work that has not moved for `stallMs` has hung: it is stopped, and tried again. Where it has not stopped `settleMs` later,
 * its process ends: it would hold its locks and, of a GPU worker, the only place for ever.
 */
const HUNG = { stallMs: 15 * 60_000, settleMs: 60_000 };

/**
 * Runs a stage inside a Temporal activity: progress goes out as heartbeats, and cancel, pause and shutdown come in as
 * an aborted signal. Between two words of progress the last one is repeated, since one step may take minutes.
 */
export async function inActivity<T>(work: (context: StageContext) => Promise<T>, hung: Partial<typeof HUNG> = {}): Promise<T> {
  const { stallMs, settleMs } = { ...HUNG, ...hung };
  const activity = Context.current();
  const controller = new AbortController();
  let last: Progress | undefined = activity.info.heartbeatDetails as Progress | undefined;
  /** milliseconds of beats without movement: by a clock, a machine that slept would have hung */
  let still = 0;
  const stop = (): void => controller.abort(stopReason(activity));
  activity.cancellationSignal.addEventListener("abort", stop, { once: true });
  if (activity.cancellationSignal.aborted) stop();
  const beat = setInterval(() => {
    still += BEAT_MS;
    if (still > stallMs + settleMs) {
      console.error(`${activity.info.activityId} has hung, and does not stop: this worker ends, and another goes on from what is saved`);
      process.exit(1);
    }
    if (still <= stallMs) return activity.heartbeat(last);
    controller.abort(ApplicationFailure.retryable(`nothing has moved for ${duration(stallMs / 1000)}`, "Stalled"));
  }, BEAT_MS);
  activity.heartbeat(last);
  try {
    return await work({
      signal: controller.signal,
      progress: (progress) => {
        still = 0;
        last = finite(progress);
        activity.heartbeat(last);
      },
    });
  } catch (error) {
    // whatever an aborted operation threw, this is why
    throw controller.signal.aborted ? controller.signal.reason : explained(error);
  } finally {
    clearInterval(beat);
    activity.cancellationSignal.removeEventListener("abort", stop);
  }
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
