import { setTimeout as sleep } from "node:timers/promises";
import { WorkflowNotFoundError, type Client } from "@temporalio/client";
import { Context } from "@temporalio/activity";
import {
  LEASE,
  LEASE_ID,
  QUERIES,
  SIGNALS,
  TASK_QUEUE,
  type GpuWorker,
  type Holder,
  type LeaseState,
  type RunProgress,
} from "../workflows/contract.js";

/** Milliseconds between a worker's checks that it is still registered. A check leaves nothing in the lease's history. */
const LOOK_MS = 10_000;

/** Milliseconds between checks that the run that holds the workers still trains. */
const HOLDER_MS = 2000;

/** Registers a worker with the lease, and starts the lease if none runs. */
export async function register(client: Client, worker: GpuWorker): Promise<void> {
  await client.workflow.signalWithStart(LEASE, {
    workflowId: LEASE_ID,
    taskQueue: TASK_QUEUE,
    signal: SIGNALS.register,
    signalArgs: [worker],
    staticSummary: "lends the GPU workers to one run at a time",
  });
}

/** Takes a worker out of the lease. A failure is ignored, because the next run that asks the worker notices. */
export async function deregister(client: Client, worker: GpuWorker, timeoutMs: number): Promise<void> {
  const told = client.workflow.getHandle(LEASE_ID).signal(SIGNALS.deregister, { queue: worker.queue, started: worker.started });
  await Promise.race([told.catch(() => undefined), sleep(timeoutMs, undefined, { ref: false })]);
}

/** The lease as it is now; null when none runs. Throws when no worker answers the query. */
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

/** What `stayRegistered` needs. */
export interface Registration {
  readonly client: Client;
  readonly worker: GpuWorker;
  readonly signal: AbortSignal;
  /** Whether the worker computes. If the lease took a busy worker for dead, the worker registers again when it is free. */
  busy(): boolean;
  /** Called with the lease's state at every check; null when no lease runs. */
  observe(state: LeaseState | null): void;
}

/** Keeps a worker registered until aborted, also if the lease was ended or took the worker for dead. */
export async function stayRegistered({ client, worker, signal, busy, observe }: Registration): Promise<void> {
  let known = false;
  while (!signal.aborted) {
    try {
      if (!known && !busy()) {
        await register(client, worker);
        known = true;
      }
      await sleep(LOOK_MS, undefined, { signal });
      const state = await leaseState(client);
      observe(state);
      known = state?.workers.some(({ queue, started }) => queue === worker.queue && started === worker.started) ?? false;
    } catch {
      // the server restarts, or no worker answers the query: try again
      await sleep(known ? LOOK_MS : 1000, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** The activity `awaitIdle`: resolves when a run is closed, unknown or not training. Heartbeats meanwhile. */
export async function awaitIdle(client: Client, holder: Holder): Promise<void> {
  const { cancellationSignal, cancelled } = Context.current();
  const handle = client.workflow.getHandle(holder.workflowId);
  const trains = async (): Promise<boolean> => {
    const { status, raw } = await handle.describe();
    if (status.name !== "RUNNING" || raw.workflowExecutionInfo?.firstRunId !== holder.firstRunId) return false;
    const { rows } = await handle.query<RunProgress>(QUERIES.progress);
    return rows.some(({ stage, state }) => stage === "train" && state === "running");
  };
  for (;;) {
    Context.current().heartbeat();
    try {
      // a query waits for a worker and a server: the worker may be this one, which is stopping, and the server may be gone
      if (!(await Promise.race([trains(), cancelled]))) return;
    } catch (error) {
      cancellationSignal.throwIfAborted();
      if (error instanceof WorkflowNotFoundError) return;
      // the server restarts, or no worker answers the query yet: ask again
    }
    await sleep(HOLDER_MS, undefined, { signal: cancellationSignal });
  }
}
