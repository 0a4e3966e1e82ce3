import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "@temporalio/client";
import type { DataConverter } from "@temporalio/common";
import { DefaultLogger, NativeConnection, Runtime, TransportError, type LogEntry, type Worker } from "@temporalio/worker";
import { temporalSettings } from "./client.js";

/** A worker's access to Temporal: one connection, for polling and for the client. */
export interface Temporal {
  readonly connection: NativeConnection;
  readonly client: Client;
  readonly namespace: string;
  /** how payloads are written; absent: as they are */
  readonly dataConverter?: DataConverter;
}

/** Milliseconds between attempts at reaching a server that does not answer yet. */
const RETRY_MS = { first: 200, last: 3000 };

/** Writes a line to standard error, except the warning that a GPU worker has no workflows, which is intended. */
function log({ level, message, meta }: LogEntry): void {
  if (!message.startsWith("No workflows registered")) console.error(`${new Date().toISOString()} ${level} ${message}`, meta ?? "");
}

/**
 * Connects to the server that TEMPORAL_* or a profile names, and waits until it answers. Installs Temporal's runtime, which
 * logs to standard error and leaves signals to the caller.
 */
export async function connectTemporal(variables: Readonly<Record<string, string | undefined>>): Promise<Temporal> {
  Runtime.install({ logger: new DefaultLogger("WARN", log), shutdownSignals: [] });
  const { connectionOptions, ...options } = temporalSettings(variables);
  for (let wait = RETRY_MS.first; ; wait = Math.min(wait * 2, RETRY_MS.last)) {
    try {
      const connection = await NativeConnection.connect(connectionOptions);
      return { connection, client: new Client({ connection, ...options }), ...options };
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      console.error(`Temporal does not answer yet [address=${connectionOptions.address ?? "localhost:7233"}]: ${error.message}`);
      await sleep(wait);
    }
  }
}

/** Milliseconds that a worker may take to report to Temporal after it has saved everything: the server may be gone already. */
const GOODBYE_MS = 2000;

/**
 * Stops a process's workers: they take no new tasks, cancel their activities, and their `run` resolves when everything is
 * saved and Temporal knows. If Temporal does not answer, the process ends soon after everything is saved.
 */
export async function stopWorkers(workers: readonly Worker[]): Promise<void> {
  if (workers.some((worker) => worker.getState() === "INITIALIZED")) process.exit(0);
  for (const worker of workers) if (worker.getState() === "RUNNING") worker.shutdown();
  for (let saved = Date.now(); Date.now() - saved < GOODBYE_MS; await sleep(50))
    if (workers.some((worker) => worker.getStatus().numInFlightActivities > 0)) saved = Date.now();
  process.exit(0);
}
