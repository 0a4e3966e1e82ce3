import { hostname } from "node:os";
import { ApplicationFailure } from "@temporalio/common";
import type { Client } from "@temporalio/client";
import { messageOf } from "../core/errors.js";
import { processStart } from "../infra/process/process-start.js";
import { TASK_QUEUE } from "../workflows/contract.js";

/** A killed worker's work, which Temporal would wait for until its heartbeat timeout: the worker that follows says at once that it ended. */

/** A pending activity's state in which a worker has it. */
const STARTED = 2;

/** How a worker names itself to Temporal, shown in the UI: what it is, its process, and whose home it works in. */
export function workerIdentity(name: string, home: string): string {
  return identity(name, process.pid, home);
}

function identity(name: string, pid: number, home: string): string {
  return `${name} ${pid}@${hostname()} ${home}`;
}

/** Whether an identity is that of a process that was the same worker in the same home, and is no more. */
export function isPredecessor(other: string, name: string, home: string): boolean {
  const pid = Number(/^\S+ (\d+)@/.exec(other)?.[1]);
  return pid !== process.pid && other === identity(name, pid, home) && processStart(pid) === null;
}

/** Fails what dead predecessors had begun, so that it is tried again now. A paused activity is left to its pause. */
export async function endOrphans(client: Client, name: string, home: string): Promise<void> {
  try {
    for await (const { workflowId, runId } of client.workflow.list({
      query: `TaskQueue = '${TASK_QUEUE}' AND ExecutionStatus = 'Running'`,
    })) {
      const { raw } = await client.workflow.getHandle(workflowId, runId).describe();
      for (const { activityId, state, paused, lastWorkerIdentity } of raw.pendingActivities ?? []) {
        if (Number(state) !== STARTED || paused === true || !isPredecessor(lastWorkerIdentity ?? "", name, home)) continue;
        const failure = ApplicationFailure.create({ message: "its worker was killed", type: "WorkerKilled" });
        await client.activity.fail({ workflowId, runId, activityId: activityId! }, failure);
      }
    }
  } catch (error) {
    // the heartbeat timeouts say the same, ten seconds later
    console.error(`what a killed ${name} had begun cannot be ended: ${messageOf(error)}`);
  }
}
