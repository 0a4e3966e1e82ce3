import { setTimeout as sleep } from "node:timers/promises";
import { Context } from "@temporalio/activity";
import { withClient } from "../cli/client.js";
import type { Progress } from "../core/stage.js";

/** Milliseconds between looks at whether an activity is still paused. */
const LOOK_MS = 1000;

/** Whether the activity at hand was paused, from the UI or by `temporal activity pause`. */
export function isPaused(): boolean {
  return Context.current().cancellationDetails?.paused === true;
}

/**
 * Stays in a paused activity, heartbeating `progress`, until it is unpaused, cancelled or gone, or the worker stops: the
 * workflow hears nothing of a pause, and would go on if the activity ended. Over a connection of its own, for calls over
 * the worker's are tied to the activity's signal, which the pause has aborted.
 */
export async function untilUnpaused(
  variables: Readonly<Record<string, string | undefined>>,
  progress: Progress,
  stopping: AbortSignal,
): Promise<void> {
  const { info } = Context.current();
  const workflow = info.workflowExecution!;
  await withClient(variables, async (client) => {
    for (;;) {
      const { raw } = await client.workflow.getHandle(workflow.workflowId, workflow.runId).describe();
      const own = raw.pendingActivities?.find(({ activityId }) => activityId === info.activityId);
      if (own?.paused !== true || raw.workflowExtendedInfo?.cancelRequested === true) return;
      Context.current().heartbeat(progress);
      await sleep(LOOK_MS, undefined, { signal: stopping }).catch(() => undefined);
      if (stopping.aborted) return;
    }
  });
}
