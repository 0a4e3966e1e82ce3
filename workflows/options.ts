import { ActivityCancellationType, type ActivityOptions } from "@temporalio/workflow";
import { NON_RETRYABLE, type ErrorName } from "../core/errors.js";

/** A worker that has sent no heartbeat for this long is dead; workers send one every two seconds at most. */
export const HEARTBEAT = "10 seconds";

/** A machine that has taken no stage for this long is not waited for by a shared run: a worker that is started again takes less. */
export const SILENT_HOST = "60 seconds";

/**
 * Options of every stage's activity: a new attempt goes on from what lies in the stage's directory. The server's number of
 * attempts counts stops and pauses, too, so it decides nothing: the worker counts failures, waits longer after each, and
 * gives the work up with a failure that is not retryable (workers/attempt-count.ts).
 */
export const STAGE_OPTIONS: ActivityOptions = {
  startToCloseTimeout: "365 days",
  heartbeatTimeout: HEARTBEAT,
  // an activity that writes has stopped before the workflow says that it has
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: "500 milliseconds", backoffCoefficient: 1, nonRetryableErrorTypes: [...NON_RETRYABLE] },
};

/** Name of the failure of an activity that another attempt fenced off. */
const FENCED: ErrorName = "FencedError";

/**
 * Options of the activities around training's attempts. Such an activity that was taken for dead may still write into the
 * commit log once, before its successor does. The successor is then fenced, reads the log again and goes on: so this failure
 * is tried again here. The lease keeps other runs away from the same work.
 */
export const GANG_OPTIONS: ActivityOptions = {
  ...STAGE_OPTIONS,
  retry: { ...STAGE_OPTIONS.retry, nonRetryableErrorTypes: NON_RETRYABLE.filter((name) => name !== FENCED) },
};
