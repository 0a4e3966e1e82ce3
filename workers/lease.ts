import { setTimeout as sleep } from "node:timers/promises";
import { WorkflowNotFoundError, type Client } from "@temporalio/client";
import { Context } from "@temporalio/activity";
import { LEASE, LEASE_ID, QUERIES, SIGNALS, TASK_QUEUE, type GpuWorker, type Holder, type LeaseState } from "../workflows/contract.js";

/** Milliseconds between a worker's looks at whether it is still registered; a look leaves nothing in the lease's history. */
const LOOK_MS = 10_000;

/** Milliseconds between looks at whether a run that holds the workers still runs. */
const HOLDER_MS = 2000;

/** Introduces a worker to the lease, starting that if need be. */
export async function register(client: Client, worker: GpuWorker): Promise<void> {
  await client.workflow.signalWithStart(LEASE, {
    workflowId: LEASE_ID,
    taskQueue: TASK_QUEUE,
    signal: SIGNALS.register,
    signalArgs: [worker],
    staticSummary: "lends the GPU workers to one run at a time",
  });
}

/** Takes a worker out of the lease; silent when that cannot be told, for whoever asks it next finds out. */
export async function deregister(client: Client, worker: GpuWorker, timeoutMs: number): Promise<void> {
  const told = client.workflow.getHandle(LEASE_ID).signal(SIGNALS.deregister, { queue: worker.queue, started: worker.started });
  await Promise.race([told.catch(() => undefined), sleep(timeoutMs, undefined, { ref: false })]);
}

/** The lease as it is now; null when none runs. Fails when no worker answers for it. */
export async function leaseState(client: Client): Promise<LeaseState | null> {
  const handle = client.workflow.getHandle(LEASE_ID);
  try {
    if ((await handle.describe()).status.name !== "RUNNING") return null;
    return await handle.query<LeaseState>(QUERIES.lease);
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}

/** Registers and stays so until aborted: a lease that was ended, or took the worker for dead, hears of it again. */
export async function stayRegistered(client: Client, worker: GpuWorker, signal: AbortSignal): Promise<void> {
  let known = false;
  while (!signal.aborted) {
    try {
      if (!known) await register(client, worker);
      known = true;
      await sleep(LOOK_MS, undefined, { signal });
      known = (await leaseState(client))?.workers.some(({ queue }) => queue === worker.queue) ?? false;
    } catch {
      // the server restarts, or nobody answers for the lease: looked at again
      await sleep(known ? LOOK_MS : 1000, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** The activity `awaitClosed`: resolves when a run is closed or unknown, heartbeating meanwhile. */
export async function awaitClosed(client: Client, holder: Holder): Promise<void> {
  const { cancellationSignal } = Context.current();
  for (;;) {
    try {
      const { status, raw } = await client.workflow.getHandle(holder.workflowId).describe();
      if (status.name !== "RUNNING" || raw.workflowExecutionInfo?.firstRunId !== holder.firstRunId) return;
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return;
      throw error;
    }
    Context.current().heartbeat();
    await sleep(HOLDER_MS, undefined, { signal: cancellationSignal });
  }
}
