import { Worker } from "@temporalio/worker";
import { CHECKOUT, readEnvironment } from "./environment.js";
import { isShared, parseRunConfig } from "../core/config/schema.js";
import { UserError } from "../core/errors.js";
import { ownDevice } from "../infra/gpu/choose-gpus.js";
import { eligible } from "../workflows/eligible.js";
import { gpuQueue, type GpuActivities, type GpuWorker, type LeaseState } from "../workflows/contract.js";
import { workerAddress } from "./client.js";
import { connectTemporal, stopWorkers } from "./connect.js";
import { inActivity } from "./context.js";
import { deregister, leaseState, stayRegistered } from "./lease-client.js";
import { OUTGOING, scrubLog } from "./outgoing.js";
import { pausable } from "./pausable.js";
import { endOrphans, workerIdentity } from "./predecessor.js";
import { makeStages } from "./stages.js";
import type { TrainAttempt } from "../activities/train/log/entries.js";

/**
 * A GPU worker: one process, one rank at a time, on a queue whose name survives it. ROSLIN_SLOT is its number on this
 * host, ROSLIN_SLOTS how many there are, ROSLIN_GPU its device.
 */

function wholeNumber(name: string, fallback?: number): number {
  const value = Number(process.env[name] ?? fallback ?? Number.NaN);
  if (Number.isInteger(value) && value >= 0) return value;
  throw new UserError(`${name} must be a whole number`, { got: process.env[name] });
}

async function main(): Promise<void> {
  const environment = readEnvironment(process.env, CHECKOUT);
  const slot = wholeNumber("ROSLIN_SLOT");
  const name = `gpu-${slot}`;
  const { client, ...temporal } = await connectTemporal(environment.variables);
  const self: GpuWorker = {
    queue: gpuQueue(environment.host, slot),
    host: environment.host,
    slot,
    of: wholeNumber("ROSLIN_SLOTS", slot + 1),
    started: Date.now(),
    device: ownDevice(process.env),
    address: await workerAddress(environment),
  };
  const stages = makeStages(environment);
  const stopping = new AbortController();
  /** looked at since the attempt at hand began */
  let lease: LeaseState | null = null;
  let busy = false;
  const activities: GpuActivities<TrainAttempt> = {
    trainRank: pausable(async ({ attempt: begun, worker: rank }) => {
      // an earlier version may have begun it
      const attempt: TrainAttempt = { ...begun, config: parseRunConfig(begun.config) };
      lease = null;
      busy = true;
      const { workers, config } = attempt;
      const outgrown = (): boolean => {
        const { shards, workers: wish } = config.train;
        const hosts = isShared(config) ? { hosts: wish.hosts } : {};
        const wanted = { host: self.host, min: 1, max: shards, enough: shards, ...hosts };
        const there = eligible(lease?.workers ?? [], wanted).workers.length;
        // one that has just come back is known at the next checkpoint
        if (workers < (isShared(config) ? shards : self.of))
          void leaseState(client).then(
            (state) => (lease = state),
            () => undefined,
          );
        return there > workers;
      };
      try {
        return await inActivity((context) => stages.runRank({ attempt, worker: rank, outgrown }, context));
      } finally {
        busy = false;
      }
    }),
    ping: async () => undefined,
  };
  const worker = await Worker.create({
    ...temporal,
    identity: workerIdentity(name, environment.home),
    taskQueue: self.queue,
    activities: { ...activities },
    interceptors: OUTGOING,
    maxConcurrentActivityTaskExecutions: 1,
    maxHeartbeatThrottleInterval: "2 seconds",
  });
  const stop = (): void => {
    if (stopping.signal.aborted) return;
    stopping.abort();
    // first the goodbye: the run that loses this worker looks at once for others
    void deregister(client, self, 1000).then(() => stopWorkers([worker]));
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, stop);
  // not waited for at the end: it may be asking a lease for which nobody answers any more
  void stayRegistered({ client, worker: self, signal: stopping.signal, busy: () => busy, observe: (state) => (lease = state) });
  void endOrphans(client, name, environment.home);
  await worker.run();
}

scrubLog();
try {
  await main();
  process.exit(0);
} catch (error) {
  console.error(error instanceof UserError ? `GPU worker: ${error.message}` : error);
  process.exit(error instanceof UserError ? 2 : 1);
}
