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

/** How a worker stays registered. */
export interface Registration {
  readonly client: Client;
  readonly worker: GpuWorker;
  readonly signal: AbortSignal;
  /** whether it computes: a lease that does not know it then took it for dead, and hears of it when it is free */
  busy(): boolean;
  /** Hears the lease at every look. */
  seen(state: LeaseState | null): void;
}

/** Registers and stays so until aborted: a lease that was ended, or took the worker for dead, hears of it again. */
export async function stayRegistered({ client, worker, signal, busy, seen }: Registration): Promise<void> {
  let known = false;
  while (!signal.aborted) {
    try {
      if (!known && !busy()) {
        await register(client, worker);
        known = true;
      }
      await sleep(LOOK_MS, undefined, { signal });
      const state = await leaseState(client);
      seen(state);
      known = state?.workers.some(({ queue, started }) => queue === worker.queue && started === worker.started) ?? false;
    } catch {
      // the server restarts, or nobody answers for the lease: looked at again
      await sleep(known ? LOOK_MS : 1000, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** The activity `awaitIdle`: resolves when a run is closed or unknown, or does not train, heartbeating meanwhile. */
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
      // a query waits for a worker, which may be this one that is stopping, or for a server that has gone before it
      if (!(await Promise.race([trains(), cancelled]))) return;
    } catch (error) {
      cancellationSignal.throwIfAborted();
      if (error instanceof WorkflowNotFoundError) return;
      // a server that restarts, or a worker that does not answer for the run yet, is asked again
    }
    await sleep(HOLDER_MS, undefined, { signal: cancellationSignal });
  }
}
