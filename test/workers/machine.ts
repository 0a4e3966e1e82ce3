import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { Client, Connection, type WorkflowHandle } from "@temporalio/client";
import { lookAt } from "../../cli/show/follow.js";
import { planMachine } from "../../cli/machine/local-machine.js";
import { Supervisor, type Supervised } from "../../cli/machine/supervisor.js";
import { resultNamed, type SentResult, type StageName, type StageResult } from "../../core/stages/results.js";
import { isAlive, launch, stopAll, type Running, type Service } from "../../infra/servers/service.js";
import { ask } from "../workflows/place.js";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";
import {
  FINETUNE,
  LEASE_ID,
  QUERIES,
  TASK_QUEUE,
  type FinetuneResult,
  type LeaseState,
  type RunProgress,
} from "../../workflows/contract.js";

const ROSLIN = join(CHECKOUT, "bin", "roslin.js");

/** A run on the machine. */
export type Run = WorkflowHandle<(input: unknown) => Promise<FinetuneResult>>;

/** The whole pipeline on a real server and real worker processes in a home of its own, with a small job. */
export interface Machine {
  readonly home: string;
  readonly client: Client;
  /** of the Temporal server */
  readonly address: string;
  /** of a job that trains for some seconds */
  readonly config: { readonly train: object };
  /** Runs the stock CLI against the server; resolves to what it prints. */
  temporal(...args: readonly string[]): Promise<string>;
  /** Starts a run from scratch: what earlier ones did is removed. */
  start(id: string, config?: unknown): Promise<Run>;
  /** Starts a run on what earlier ones did. */
  goOn(id: string, config?: unknown): Promise<Run>;
  /** Kills processes by their names ("pipeline", "gpu-0", …), which come back. */
  kill(...names: readonly string[]): void;
  /** A GPU worker's process as it is now. */
  pid(name: string): number;
  /** Kills GPU workers for good. */
  lose(...names: readonly string[]): void;
  /** Starts GPU workers that were killed for good. */
  bringBack(...names: readonly string[]): Promise<void>;
  /** Makes training slow, or as fast as it can be again. */
  slow(isSlow: boolean): Promise<void>;
  /** How many entries training's commit log has. */
  commits(): Promise<number>;
  lease(): Promise<LeaseState>;
  stop(): Promise<void>;
}

/** Starts a machine; `variables` are more of them for its processes. */
export async function startMachine(
  gpuWorkers: Parameters<typeof planMachine>[1],
  variables: (home: string) => Record<string, string> = () => ({}),
): Promise<Machine> {
  const home = await mkdtemp(join(tmpdir(), "roslin-machine-"));
  const slowness = join(home, "slow");
  const given: Readonly<Record<string, string | undefined>> = { ...process.env, ...variables(home) };
  const preload = pathToFileURL(join(import.meta.dirname, "slow-step.js")).href;
  const slowing = { SLOW_STEPS: slowness, NODE_OPTIONS: `${given["NODE_OPTIONS"] ?? ""} --import=${preload}` };
  const usual = readEnvironment({ ...given, ...slowing }, CHECKOUT);
  const environment = { ...usual, home, s3: "external" as const, externalTemporal: false };
  const plan = await planMachine(environment, gpuWorkers, () => undefined, new AbortController().signal);
  const isGpu = ({ name }: Service): boolean => name.startsWith("gpu-");
  let supervised: readonly Supervised[] = [];
  const supervisor = new Supervisor(
    plan.groups.map((group) => group.filter((service) => !isGpu(service))),
    async (now) => void (supervised = now),
    () => undefined,
  );
  await supervisor.start(new AbortController().signal);
  // GPU workers are started again here, because the supervisor brings back a worker that dies
  const gpus = new Map(
    plan.groups
      .flat()
      .filter(isGpu)
      .map((service) => [service.name, new Gpu(service)]),
  );
  await Promise.all([...gpus.values()].map((gpu) => gpu.start()));
  const { address } = plan.temporal!;
  const connection = await Connection.connect({ address });
  const client = new Client({ connection });
  const config = await smallConfig(home);

  const kill = (name: string): void => {
    const gpu = gpus.get(name);
    if (gpu !== undefined) return gpu.kill();
    const id = supervised.find((each) => each.name === name)!;
    // one that was killed and is not started again yet is dead
    if (isAlive(id)) process.kill(id.pid, "SIGKILL");
  };

  const goOn = (id: string, input: unknown = config): Promise<Run> =>
    client.workflow.start<(input: unknown) => Promise<FinetuneResult>>(FINETUNE, { taskQueue: TASK_QUEUE, workflowId: id, args: [input] });

  return {
    home,
    client,
    address,
    config,
    temporal: async (...args) => (await promisify(execFile)(plan.temporalBinary!, ["--address", address, ...args])).stdout,
    async start(id, input) {
      // what was terminated just now may still write
      await rm(join(home, "stages"), { recursive: true, force: true, maxRetries: 30, retryDelay: 100 });
      return goOn(id, input);
    },
    goOn,
    kill: (...names) => names.forEach(kill),
    pid: (name) => gpus.get(name)!.pid(),
    lose(...names) {
      for (const name of names) gpus.get(name)!.kept = false;
      names.forEach(kill);
    },
    async bringBack(...names) {
      await Promise.all(names.map((name) => gpus.get(name)!.start()));
    },
    slow: (isSlow) => (isSlow ? writeFile(slowness, "") : rm(slowness, { force: true })),
    async commits() {
      const names = await readdir(join(home, "stages"), { recursive: true }).catch(() => []);
      return names.filter((name) => /commits\/\d+\.json$/.test(name)).length;
    },
    lease: () => ask<LeaseState>(client.workflow.getHandle(LEASE_ID), QUERIES.lease),
    async stop() {
      await connection.close();
      await Promise.all([...gpus.values()].map((gpu) => gpu.stop()));
      await supervisor.stop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** A GPU worker that is started again when it dies, unless it is lost. */
class Gpu {
  kept = true;
  private readonly service: Service;
  private running: Running | null = null;
  private keeper: Promise<void> = Promise.resolve();

  constructor(service: Service) {
    this.service = service;
  }

  async start(): Promise<void> {
    await this.keeper;
    this.kept = true;
    this.running = await launch(this.service);
    this.keeper = this.keep();
  }

  kill(): void {
    if (this.running !== null) process.kill(this.running.id.pid, "SIGKILL");
  }

  pid(): number {
    return this.running!.id.pid;
  }

  async stop(): Promise<void> {
    this.kept = false;
    await stopAll(this.running === null ? [] : [this.running]);
    await this.keeper;
  }

  private async keep(): Promise<void> {
    for (;;) {
      await this.running!.ended;
      this.running = null;
      await sleep(200);
      if (!this.kept) return;
      this.running = await launch(this.service);
    }
  }
}

/** Sequences that a model of two layers learns in a few seconds, in 136 steps. */
async function smallConfig(home: string): Promise<{ readonly train: object }> {
  const rows = Array.from({ length: 600 }, (_, row) => {
    const length = 8 + ((row * 7) % 33);
    const ids = Array.from({ length }, (_each, at) => (row * 11 + at * 3) % 320);
    return { input_ids: ids, labels: ids.map((id, at) => (at < 3 ? -100 : id)) };
  });
  await writeFile(join(home, "rows.json"), JSON.stringify(rows));
  return {
    model: { source: pathToFileURL(join(CHECKOUT, "test", "reference", "gptj-tiny")).href },
    dataset: { source: pathToFileURL(join(home, "rows.json")).href },
    preprocess: { maxLength: 64, testRows: 60 },
    train: { shards: 4, microBatch: 2, learningRate: 1e-3, epochs: 2, checkpointEverySteps: 10, workers: { min: 1, waitSeconds: 60 } },
    evaluate: { generateSamples: 2 },
    publish: { target: pathToFileURL(join(home, "published")).href },
  } as { readonly train: object };
}

/** Calls `see` for each activity that is under way, with the commits and the note of its heartbeat, until the run has ended. */
export async function watch(
  machine: Machine,
  run: Run,
  see: (activity: string, commits: number, note: string) => unknown,
): Promise<FinetuneResult> {
  const result = run.result();
  let ended = false;
  const end = (): void => void (ended = true);
  result.then(end, end);
  while (!ended) {
    const pending = (await run.describe()).raw.pendingActivities ?? [];
    for (const activity of pending) await see(activity.activityId ?? "", await machine.commits(), lookAt([activity]).progress?.note ?? "");
    await sleep(30);
  }
  return result;
}

/** Waits until it holds. A look may be a query, which costs the server and a worker some milliseconds of their time. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(200);
}

/** How far a run says it is; what it says before it can be asked is nothing. */
export function progressOf(run: WorkflowHandle): Promise<RunProgress> {
  return run.query<RunProgress>(QUERIES.progress).catch(() => ({ rows: [], pause: "" }));
}

/** A stage's row, as "state: note". */
export async function rowOf(run: WorkflowHandle, name: StageName): Promise<string> {
  const row = (await progressOf(run)).rows.find(({ stage }) => stage === name);
  return row === undefined ? "" : `${row.state}: ${row.note}`;
}

/** What training came to. */
export function trained(result: FinetuneResult): SentResult<"train"> {
  return resultNamed(result.stages, "train")!;
}

/** Digest of the weights and optimizer state that a config comes to when nobody disturbs it: by one worker, without Temporal. */
export async function undisturbedDigest(config: unknown): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "roslin-undisturbed-"));
  try {
    const file = join(directory, "run.json");
    await writeFile(file, JSON.stringify(config));
    let said = "";
    for (const stage of ["download", "preprocess", "train"])
      said = (await promisify(execFile)(process.execPath, [ROSLIN, "stage", stage, "--config", file, "--dir", directory, "--json"])).stdout;
    return (JSON.parse(said) as StageResult).stateDigest!;
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Digest of a run's weights and optimizer state. */
export function digestOf(result: FinetuneResult): string {
  return trained(result).stateDigest!;
}
