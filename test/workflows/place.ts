import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, Connection, ServiceError, type WorkflowHandle } from "@temporalio/client";
import { DefaultLogger, NativeConnection, Runtime, Worker, type WorkerOptions, type WorkflowBundleWithSourceMap } from "@temporalio/worker";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";
import { parseRunConfig } from "../../core/config/schema.js";
import type { SentResult, StageName } from "../../core/stages/results.js";
import { startTemporal } from "../../infra/servers/start.js";
import { bundleWorkflows } from "../../workers/bundle.js";
import { awaitIdle, register, stayRegistered } from "../../workers/lease-client.js";
import { pausable, pausedActivities } from "../../workers/pausable.js";
import {
  FINETUNE,
  gpuQueue,
  LEASE_ID,
  SEARCH_ATTRIBUTES,
  SIGNALS,
  stageQueue,
  TASK_QUEUE,
  type FinetuneResult,
  type GpuActivities,
  type GpuWorker,
  type PipelineActivities,
  type SearchAttributeName,
} from "../../workflows/contract.js";

/** A Temporal server of the test's own, and workers with small activities in place of the stages. */
export interface Place {
  readonly client: Client;
  readonly address: string;
  readonly directory: string;
  /** Starts a worker with the workflows and these activities over the defaults; resolves to the function that stops it. */
  pipeline(activities?: Partial<PipelineActivities>): Promise<() => Promise<void>>;
  /** Starts what takes another machine's stages, as `pipeline` does for HOST; resolves to the function that stops it. */
  stages(host: string, activities?: Partial<PipelineActivities>): Promise<() => Promise<void>>;
  /** Starts a GPU worker, registered with the lease; resolves to the function that stops it without a word to the lease. */
  gpu(slot: number, of: number, trainRank: GpuActivities["trainRank"], host?: string): Promise<() => Promise<void>>;
  start(id: string, input?: unknown): Promise<WorkflowHandle<(input?: unknown) => Promise<FinetuneResult>>>;
  /** Stops the workers of a test. */
  clear(): Promise<void>;
  stop(): Promise<void>;
}

export const HOST = "test-host";

/** Asks a workflow; a worker that is busy with other things answers too late, and is asked again. */
export async function ask<T>(run: WorkflowHandle, query: string): Promise<T> {
  for (let tries = 1; ; tries++)
    try {
      return await run.query<T>(query);
    } catch (error) {
      if (tries === 20 || !(error instanceof ServiceError)) throw error;
    }
}

/** Starts a place; `more`: what its workers, and where it fits its client, are given besides. */
export async function startPlace(more: Pick<WorkerOptions, "dataConverter" | "interceptors"> = {}): Promise<Place> {
  Runtime.install({ logger: new DefaultLogger("ERROR"), shutdownSignals: [] });
  const directory = await mkdtemp(join(tmpdir(), "roslin-workflows-"));
  const tools = join(readEnvironment(process.env, CHECKOUT).home, "tools");
  const { signal } = new AbortController();
  const server = await startTemporal({ home: directory, tools, variables: process.env, signal, searchAttributes: SEARCH_ATTRIBUTES });
  const connection = await Connection.connect({ address: server.address });
  const native = await NativeConnection.connect({ address: server.address });
  const client = new Client({ connection, ...(more.dataConverter && { dataConverter: more.dataConverter }) });
  const stops = new Set<() => Promise<void>>();
  const registered: GpuWorker[] = [];
  const staying: Promise<void>[] = [];
  let leaving = new AbortController();
  let bundle: WorkflowBundleWithSourceMap | undefined;

  const run = (worker: Worker): (() => Promise<void>) => {
    const ended = worker.run();
    const stop = async (): Promise<void> => {
      if (!stops.delete(stop)) return;
      worker.shutdown();
      await ended;
    };
    stops.add(stop);
    return stop;
  };

  return {
    client,
    address: server.address,
    directory,
    async pipeline(activities = {}) {
      bundle ??= await bundleWorkflows(more.dataConverter !== undefined);
      const options = {
        ...more,
        connection: native,
        activities: { ...fakeActivities(client), ...activities },
        maxHeartbeatThrottleInterval: "200 milliseconds",
        shutdownForceTime: "5 seconds",
      } as const;
      const workflows = {
        ...options,
        taskQueue: TASK_QUEUE,
        workflowBundle: bundle,
        stickyQueueScheduleToStartTimeout: "1 second",
      } as const;
      const stages = { ...options, taskQueue: stageQueue(HOST) };
      const stopBoth = [run(await Worker.create(workflows)), run(await Worker.create(stages))];
      return async () => void (await Promise.all(stopBoth.map((stop) => stop())));
    },
    async stages(host, activities = {}) {
      const all = { ...fakeActivities(client), ...activities };
      return run(
        await Worker.create({ ...more, connection: native, activities: all, taskQueue: stageQueue(host), shutdownForceTime: "5 seconds" }),
      );
    },
    async gpu(slot, of, trainRank, host = HOST) {
      const queue = gpuQueue(host, slot);
      let busy = 0;
      const counted: GpuActivities["trainRank"] = async (input) => {
        busy++;
        try {
          return await trainRank(input);
        } finally {
          busy--;
        }
      };
      const activities: GpuActivities = { trainRank: pausable(counted), ping: async () => undefined };
      const stop = run(
        await Worker.create({
          ...more,
          connection: native,
          taskQueue: queue,
          activities: { ...activities },
          maxConcurrentActivityTaskExecutions: 1,
          maxHeartbeatThrottleInterval: "200 milliseconds",
          shutdownForceTime: "5 seconds",
        }),
      );
      const worker: GpuWorker = { queue, host, slot, of, started: Date.now(), address: "127.0.0.1" };
      await register(client, worker);
      registered.push(worker);
      // a busy machine answers late, and its workers are taken for dead
      const gone = new AbortController();
      const signal = AbortSignal.any([leaving.signal, gone.signal]);
      staying.push(stayRegistered({ client, worker, signal, busy: () => busy > 0, observe: () => undefined }));
      return async () => {
        gone.abort();
        await stop();
      };
    },
    start: (id, input) =>
      client.workflow.start<(input?: unknown) => Promise<FinetuneResult>>(FINETUNE, {
        taskQueue: TASK_QUEUE,
        workflowId: id,
        args: input === undefined ? [] : [input],
      }),
    async clear() {
      leaving.abort();
      leaving = new AbortController();
      // a query that is under way when the connection closes would be tried again on it, which throws where nobody can catch it
      await Promise.all(staying.splice(0));
      for (const worker of registered.splice(0)) await client.workflow.getHandle(LEASE_ID).signal(SIGNALS.deregister, worker);
      // the pipeline's last: it answers for the lease, and a task lost to a worker that goes is missed for ten seconds
      for (const stop of [...stops].reverse()) await stop();
    },
    async stop() {
      await native.close();
      await connection.close();
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A stage's result as small as can be. */
export function resultOf<Name extends StageName>(
  stage: Name,
  outputs: readonly string[],
  metrics: Record<string, unknown> = {},
): SentResult<Name> {
  const artifacts = outputs.map((name) => ({ name, uri: `file:///stages/${stage}/${name}`, sha256: "0".repeat(64), bytes: 1 }));
  return { stage, reused: false, outputs: artifacts, metrics: { seconds: 0, ...metrics } } as unknown as SentResult<Name>;
}

/** Activities that do nothing but say so; training is left to `trainRank`. */
function fakeActivities(client: Client): PipelineActivities {
  let generation = 0;
  return {
    plan: async (config) => ({ config, host: HOST, searchAttributes: Object.keys(SEARCH_ATTRIBUTES) as SearchAttributeName[], notes: [] }),
    download: async () => resultOf("download", ["model", "dataset"]),
    preprocess: async () => resultOf("preprocess", ["tokens"]),
    beginTraining: async ({ workers }) => ({ attempt: { generation: ++generation, workers, resumeStep: 0, totalSteps: 4 } }),
    finishTraining: async () => resultOf("train", ["tuned"]),
    evaluate: async () => resultOf("evaluate", ["report"], { perplexity: { base: 20, tuned: 10 }, gate: { judged: true, passed: true } }),
    publish: async () => resultOf("publish", ["published"]),
    liveHost: async () => HOST,
    awaitIdle: (holder) => awaitIdle(client, holder),
    pausedActivities: () => pausedActivities(client),
  };
}

/** A config that waits for no worker longer than a test should. */
export function quickConfig(train: Record<string, unknown> = {}): unknown {
  return JSON.parse(JSON.stringify(parseRunConfig({ train: { shards: 4, workers: { min: 1, waitSeconds: 3 }, ...train } })));
}
