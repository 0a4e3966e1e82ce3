import { hostname } from "node:os";
import { ApplicationFailure } from "@temporalio/common";
import type { Client } from "@temporalio/client";
import { messageOf } from "../core/errors.js";
import { processStart } from "../infra/process/process-start.js";
import { TASK_QUEUE } from "../workflows/contract.js";

/** Ends a killed worker's activities. Temporal would wait for their heartbeat timeouts; the worker that follows fails them at once. */

/** State of a pending activity that a worker has taken. */
const STARTED = 2;

/** A worker's identity in Temporal and its UI: its name, process, host and home. */
export function workerIdentity(name: string, home: string): string {
  return identity(name, process.pid, home);
}

function identity(name: string, pid: number, home: string): string {
  return `${name} ${pid}@${hostname()} ${home}`;
}

/** Whether an identity belongs to a process that was the same worker in the same home and has ended. */
export function isPredecessor(other: string, name: string, home: string): boolean {
  const pid = Number(/^\S+ (\d+)@/.exec(other)?.[1]);
  return pid !== process.pid && other === identity(name, pid, home) && processStart(pid) === null;
}

/** Fails the activities that dead predecessors had begun, so that they are retried now. A paused activity stays paused. */
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
    // heartbeat timeouts end them ten seconds later anyway
    console.error(`activities of a killed ${name} cannot be ended before their heartbeat timeouts: ${messageOf(error)}`);
  }
}
