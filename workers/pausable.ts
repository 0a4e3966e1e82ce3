import { CancelledFailure, Context } from "@temporalio/activity";
import { ApplicationFailure } from "@temporalio/common";
import type { Client } from "@temporalio/client";
import { messageOf } from "../core/errors.js";
import type { Progress } from "../core/stages/stage.js";
import type { AttemptHead, GpuActivities } from "../workflows/contract.js";

/** Pauses of single activities, from the UI or by `temporal activity pause`. */

type TrainRank<Attempt extends AttemptHead> = GpuActivities<Attempt>["trainRank"];

/** Whether the activity at hand was paused. */
function isPaused(): boolean {
  return Context.current().cancellationDetails?.paused === true;
}

/**
 * Makes a rank's activity one that can be paused. While it is paused it fails as if it could be tried again, so the server
 * keeps it until it is unpaused, whatever dies meanwhile. The next try ends at once, and the gang's next attempt goes on
 * from what all have saved. No other failure is tried again.
 */
export function pausable<Attempt extends AttemptHead>(trainRank: TrainRank<Attempt>): TrainRank<Attempt> {
  return async (input) => {
    const { worker, attempt } = input;
    if (Context.current().info.attempt > 1)
      throw ApplicationFailure.nonRetryable(`worker ${worker} was paused, or died, and begins anew with all`, "RankEnded");
    let step = attempt.resumeStep;
    let saved = "all have saved";
    try {
      const result = await trainRank(input);
      if (result.status === "finished" || !isPaused()) return result;
      step = result.step;
    } catch (error) {
      if (!isPaused()) throw error instanceof CancelledFailure ? error : finalFailure(error);
      saved = messageOf(error);
    }
    const note = `paused by worker ${worker}; ${saved}`;
    Context.current().heartbeat({ stage: "train", done: step, total: attempt.totalSteps, unit: "steps", note } satisfies Progress);
    throw ApplicationFailure.retryable(note, "ActivityPause");
  };
}

/** An error as one that the server does not try again. */
function finalFailure(error: unknown): ApplicationFailure {
  const { name, cause } = error instanceof ApplicationFailure ? { name: error.type, cause: error.cause } : (error as Error);
  return ApplicationFailure.create({
    message: messageOf(error),
    type: name ?? "Error",
    nonRetryable: true,
    ...(cause instanceof Error && { cause }),
  });
}

/** The activity `pausedActivities`: ids of those of its own run that were paused. */
export async function pausedActivities(client: Client): Promise<string[]> {
  const { info, cancelled } = Context.current();
  const { workflowId, runId } = info.workflowExecution!;
  // a worker that stops does not wait for a server that may have gone before it
  const { raw } = await Promise.race([client.workflow.getHandle(workflowId, runId).describe(), cancelled]);
  return (raw.pendingActivities ?? []).flatMap(({ activityId, paused }) => (paused === true && activityId ? [activityId] : []));
}
