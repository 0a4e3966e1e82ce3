import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { WorkflowFailedError, WorkflowNotFoundError } from "@temporalio/client";
import { messageOf } from "../../core/errors.js";
import { openStore } from "../../infra/store/open-store.js";
import { FINETUNE, TASK_QUEUE, type FinetuneResult } from "../../workflows/contract.js";
import { jobConfig, WAIT_SECONDS } from "./job.js";
import { leftByRun } from "./leftovers.js";
import type { ChaosMachine } from "./machine.js";
import { describe, MOMENTS, type Company, type Fault } from "./plan.js";
import { strike, type Scene } from "./strike.js";
import { View } from "./view.js";

/** What a run has made. */
export interface Outcome {
  /** SHA-256 of weights, moments and step */
  readonly stateDigest: string;
  /** SHA-256 of the weights as they lie in S3 */
  readonly weights: string;
  readonly attempts: number;
}

/** What runs at the same time have made, and the faults that struck them. */
export interface Outcomes {
  readonly outcomes: readonly Outcome[];
  readonly struck: readonly Fault[];
  readonly seconds: number;
}

/** A run to start: its workflow's id, and its input. */
interface Run {
  readonly id: string;
  readonly target: string;
  readonly config: object;
}

/** Milliseconds that a run may take. */
const LIMIT_MS = 480_000;
/** Milliseconds between looks for a moment. */
const LOOK_MS = 3;
/** Milliseconds between two faults, so that the second hits what the first has left. */
const BETWEEN_MS = 200;

/**
 * Runs the pipeline from nothing under `id` while faults strike. If it has company, another run goes beside it, and its
 * outcome is the second. `waitSeconds`: how long it waits for workers that were killed. Throws if a run fails, does not end, or leaves something behind.
 */
export async function runOnce(
  machine: ChaosMachine,
  id: string,
  faults: readonly Fault[],
  say: (line: string) => void,
  company: Company = "none",
  signal: AbortSignal = new AbortController().signal,
  waitSeconds: number = WAIT_SECONDS,
): Promise<Outcomes> {
  await machine.untilUp();
  for (const place of ["stages", "hub-cache"]) await rm(join(machine.home, place), { recursive: true, force: true });
  machine.toS3.forget();
  const target = `s3://roslin/${id}`;
  const runs: Run[] = [{ id, target, config: jobConfig(target, "usual", waitSeconds) }];
  if (company === "the same input") runs.push({ ...runs[0]!, id: `${id}-too` });
  if (company === "another input") runs.push(otherRun(id));
  const since = performance.now();
  const struck: Fault[] = [];
  const results = await untilDone(machine, runs, faults, struck, say, signal);
  const { s3 } = await machine.untilUp();
  const left = await leftByRun(machine.home, s3!);
  if (left.length > 0) throw new Error(`the run left something behind: ${left.join(", ")}`);
  const outcomes = await Promise.all(results.map((result, index) => outcomeOf(result, runs[index]!.target, s3!)));
  return { outcomes, struck, seconds: (performance.now() - since) / 1000 };
}

function otherRun(id: string): Run {
  const target = `s3://roslin/${id}-other`;
  return { id: `${id}-other`, target, config: jobConfig(target, "other") };
}

async function outcomeOf(result: FinetuneResult, target: string, s3: S3): Promise<Outcome> {
  const published = result.stages.at(-1)!.outputs;
  const weights = await digestInS3(target, `${new URL(published[0]!.uri).pathname.split("/").at(-1)}/model.safetensors`, s3);
  const said = published.find(({ name }) => name === "model.safetensors")!.sha256;
  if (weights !== said) throw new Error(`the bucket holds other weights than the run says: ${weights} instead of ${said}`);
  const { stateDigest } = result.stages.find(({ stage }) => stage === "train")!;
  return { stateDigest: stateDigest!, weights, attempts: result.trainingAttempts };
}

/** Starts the runs and strikes until they have ended. */
async function untilDone(
  machine: ChaosMachine,
  runs: readonly Run[],
  faults: readonly Fault[],
  struck: Fault[],
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<FinetuneResult[]> {
  const limit = Date.now() + LIMIT_MS;
  const begin = async (id: string): Promise<void> => {
    const options = { taskQueue: TASK_QUEUE, workflowId: id, args: [runs.find((run) => run.id === id)!.config] };
    await persist(async () => (await machine.client()).workflow.start(FINETUNE, { ...options, workflowIdConflictPolicy: "USE_EXISTING" }));
  };
  for (const { id } of runs) await begin(id);
  const view = new View(
    machine,
    runs.map(({ id }) => id),
  );
  const finished = new AbortController();
  const watching = view.watch(finished.signal);
  try {
    await strikeAll([...faults], struck, { machine, view, begin }, say, limit, signal);
    while (!view.ended) {
      signal.throwIfAborted();
      if (Date.now() > limit) throw new Error(`the run has not ended after ${LIMIT_MS / 1000} s; under way: ${view.activities.join(", ")}`);
      await sleep(50);
    }
  } finally {
    finished.abort();
    await watching;
  }
  const results: FinetuneResult[] = [];
  for (const { id } of runs)
    try {
      results.push((await persist(async () => (await machine.client()).workflow.getHandle(id).result())) as FinetuneResult);
    } catch (error) {
      const cause = error instanceof WorkflowFailedError ? (error.cause ?? error) : error;
      throw new Error(`${id} failed: ${messageOf(cause)}`, { cause: error });
    }
  return results;
}

/** Waits for each fault's moment and strikes. A fault whose moment cannot come any more is left out. */
async function strikeAll(
  faults: Fault[],
  struck: Fault[],
  scene: Scene,
  say: (line: string) => void,
  limit: number,
  signal: AbortSignal,
): Promise<void> {
  const { view } = scene;
  for (let fault = faults[0]; fault !== undefined && Date.now() < limit; fault = faults[0]) {
    signal.throwIfAborted();
    const reached = !view.ended && view.has(fault.moment);
    if (!reached && !view.isBeyond(MOMENTS[fault.moment])) {
      await sleep(LOOK_MS);
      continue;
    }
    faults.shift();
    const done = reached && (await sleep(fault.delayMs, true)) && (await strike(fault, scene));
    if (done) struck.push(fault);
    say(`  ${done ? describe(fault) : `missed: ${describe(fault)}`}`);
    if (done) await sleep(BETWEEN_MS);
  }
}

/** Repeats a call while the server does not answer. */
async function persist<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++)
    try {
      return await call();
    } catch (error) {
      if (attempt === 60 || error instanceof WorkflowFailedError || error instanceof WorkflowNotFoundError) throw error;
      await sleep(500);
    }
}

type S3 = { readonly endpoint: string; readonly region: string; readonly accessKeyId: string; readonly secretAccessKey: string };

async function digestInS3(uri: string, key: string, { endpoint, region, ...credentials }: S3): Promise<string> {
  const bytes = await openStore(uri, { endpoint, region, credentials }).read(key);
  if (bytes === null) throw new Error(`the bucket lacks ${uri}/${key}`);
  const hash = createHash("sha256");
  for await (const chunk of bytes) hash.update(chunk);
  return hash.digest("hex");
}
