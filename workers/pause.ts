import { setTimeout as sleep } from "node:timers/promises";
import { Context } from "@temporalio/activity";
import { WorkflowNotFoundError, type Client } from "@temporalio/client";
import { withClient } from "./client.js";
import type { Progress } from "../core/stage.js";

/** Milliseconds between looks at whether an activity is still paused. */
const LOOK_MS = 1000;

/** Whether the activity at hand was paused, from the UI or by `temporal activity pause`. */
export function isPaused(): boolean {
  return Context.current().cancellationDetails?.paused === true;
}

/**
 * Stays in a paused activity, heartbeating `progress`, until it is unpaused, cancelled or gone, or the worker stops: the
 * workflow hears nothing of a pause, and would go on if the activity ended. Over connections of its own, for calls over
 * the worker's are tied to the activity's signal, which the pause has aborted.
 */
export async function untilUnpaused(
  variables: Readonly<Record<string, string | undefined>>,
  progress: Progress,
  stopping: AbortSignal,
): Promise<void> {
  const activity = Context.current();
  while (!stopping.aborted) {
    // a server that restarts is asked again
    if (!(await withClient(variables, (client) => staysPaused(client, activity)).catch(() => true))) return;
    activity.heartbeat(progress);
    await sleep(LOOK_MS, undefined, { signal: stopping }).catch(() => undefined);
  }
}

async function staysPaused(client: Client, { info }: Context): Promise<boolean> {
  const { workflowId, runId } = info.workflowExecution!;
  try {
    const { raw } = await client.workflow.getHandle(workflowId, runId).describe();
    const own = raw.pendingActivities?.find(({ activityId }) => activityId === info.activityId);
    return own?.paused === true && raw.workflowExtendedInfo?.cancelRequested !== true;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}
