import { CancelledFailure, Context } from "@temporalio/activity";
import { ApplicationFailure } from "@temporalio/common";
import type { Client } from "@temporalio/client";
import { messageOf } from "../core/errors.js";
import type { Progress } from "../core/stages/results.js";
import { outgoingDetails } from "./outgoing.js";
import type { AttemptHead, GpuActivities } from "../workflows/contract.js";

/** Pauses of single activities, from the UI or by `temporal activity pause`. */

type TrainRank<Attempt extends AttemptHead> = GpuActivities<Attempt>["trainRank"];

/** Whether the current activity was paused. */
function isPaused(): boolean {
  return Context.current().cancellationDetails?.paused === true;
}

/**
 * Makes `trainRank` an activity that can be paused. A paused one fails with a retryable error, so the server keeps it until
 * it is unpaused, whichever process dies. The retry ends at once with a failure that counts as nothing, and the run's next attempt goes on from what all workers
 * have saved. No other failure is retried.
 */
export function pausable<Attempt extends AttemptHead>(trainRank: TrainRank<Attempt>): TrainRank<Attempt> {
  return async (input) => {
    const { worker, attempt } = input;
    const { attempt: tries, heartbeatDetails: told } = Context.current().info;
    if (tries > 1)
      throw (told as Partial<Progress> | undefined)?.note?.startsWith(pausedBy(worker)) === true
        ? ApplicationFailure.nonRetryable(`worker ${worker} was paused; the next attempt begins with all workers`, "ActivityPause")
        : ApplicationFailure.nonRetryable(`worker ${worker} was paused or died; the next attempt begins with all workers`, "RankEnded");
    let step = attempt.resumeStep;
    let saved = "all workers have saved";
    try {
      const result = await trainRank(input);
      if (result.status === "finished" || !isPaused()) return result;
      step = result.step;
    } catch (error) {
      if (!isPaused()) throw error instanceof CancelledFailure ? error : finalFailure(error);
      saved = messageOf(error);
    }
    const note = pausedBy(worker) + saved;
    const progress = { stage: "train", done: step, total: attempt.totalSteps, unit: "steps", note } satisfies Progress;
    Context.current().heartbeat(outgoingDetails(progress));
    throw ApplicationFailure.retryable(note, "ActivityPause");
  };
}

/** How the last word of a paused rank begins. */
function pausedBy(worker: number): string {
  return `paused by worker ${worker}; `;
}

/** Turns an error into one that the server does not retry. */
function finalFailure(error: unknown): ApplicationFailure {
  const { name, cause } = error instanceof ApplicationFailure ? { name: error.type, cause: error.cause } : (error as Error);
  return ApplicationFailure.create({
    message: messageOf(error),
    type: name ?? "Error",
    nonRetryable: true,
    ...(cause instanceof Error && { cause }),
  });
}

/** The activity `pausedActivities`: ids of its run's activities that are paused. */
export async function pausedActivities(client: Client): Promise<string[]> {
  const { info, cancelled } = Context.current();
  const { workflowId, runId } = info.workflowExecution!;
  // a stopping worker does not wait for a server that may be gone already
  const { raw } = await Promise.race([client.workflow.getHandle(workflowId, runId).describe(), cancelled]);
  return (raw.pendingActivities ?? []).flatMap(({ activityId, paused }) => (paused === true && activityId ? [activityId] : []));
}
