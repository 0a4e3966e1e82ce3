import { ActivityCancellationType, type ActivityOptions } from "@temporalio/workflow";
import { NON_RETRYABLE } from "../core/errors.js";

/** A worker that says nothing for so long is dead; workers send what they have every two seconds at most. */
export const HEARTBEAT = "10 seconds";

/** Options of every stage's activity: it goes on from its directory as often as it takes, but not for ever. */
export const STAGE_OPTIONS: ActivityOptions = {
  startToCloseTimeout: "365 days",
  heartbeatTimeout: HEARTBEAT,
  // an activity that writes has stopped before the workflow says that it has
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: {
    initialInterval: "1 second",
    backoffCoefficient: 2,
    maximumInterval: "30 seconds",
    maximumAttempts: 20,
    nonRetryableErrorTypes: [...NON_RETRYABLE],
  },
};

/**
 * Options of the activities around training's attempts. One of theirs that was taken for dead may still write into the
 * commit log once, before its successor does: who is fenced by that reads the log again. The lease sees to it that no
 * other run is at the same work.
 */
export const GANG_OPTIONS: ActivityOptions = {
  ...STAGE_OPTIONS,
  retry: { ...STAGE_OPTIONS.retry, nonRetryableErrorTypes: NON_RETRYABLE.filter((name) => name !== "FencedError") },
};
