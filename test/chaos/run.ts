import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { WorkflowFailedError } from "@temporalio/client";
import { messageOf } from "../../core/errors.js";
import { openStore } from "../../infra/store/open.js";
import { FINETUNE, TASK_QUEUE, type FinetuneResult } from "../../workflows/contract.js";
import { jobConfig } from "./job.js";
import { leftByRun } from "./leftovers.js";
import type { ChaosMachine } from "./machine.js";
import { describe, MOMENTS, type Fault } from "./plan.js";
import { strike } from "./strike.js";
import { View } from "./view.js";

/** What a run came to. */
export interface Outcome {
  /** of weights, moments and step */
  readonly stateDigest: string;
  /** SHA-256 of the weights as they lie in S3 */
  readonly weights: string;
  readonly struck: readonly Fault[];
  readonly seconds: number;
  readonly attempts: number;
}

/** Milliseconds that a run may take, and without a fault to wait for. */
const LIMIT_MS = 300_000;
const LOOK_MS = 3;
/** Between two faults, so that the second one hits what the first one has left. */
const BETWEEN_MS = 200;

/** Runs the pipeline from nothing under `id` while faults strike. Throws when it fails, does not end, or leaves something behind. */
export async function runOnce(machine: ChaosMachine, id: string, faults: readonly Fault[], say: (line: string) => void): Promise<Outcome> {
  await machine.untilUp();
  for (const place of ["stages", "hub-cache"]) await rm(join(machine.home, place), { recursive: true, force: true });
  const target = `s3://roslin/${id}`;
  const since = performance.now();
  const struck: Fault[] = [];
  const result = await untilDone(machine, id, jobConfig(target), faults, struck, say);
  const { s3 } = await machine.untilUp();
  const left = await leftByRun(machine.home, s3!);
  if (left.length > 0) throw new Error(`the run left something behind: ${left.join(", ")}`);
  const published = result.stages.at(-1)!.outputs;
  const weights = await digestInS3(target, `${new URL(published[0]!.uri).pathname.split("/").at(-1)}/model.safetensors`, s3!);
  const said = published.find(({ name }) => name === "model.safetensors")!.sha256;
  if (weights !== said) throw new Error(`the bucket holds other weights than the run says: ${weights} instead of ${said}`);
  const { stateDigest } = result.stages.find(({ stage }) => stage === "train")!;
  const seconds = (performance.now() - since) / 1000;
  return { stateDigest: stateDigest!, weights, struck, seconds, attempts: result.trainingAttempts };
}

/** Starts the run and strikes until it has ended. */
async function untilDone(
  machine: ChaosMachine,
  id: string,
  config: object,
  faults: readonly Fault[],
  struck: Fault[],
  say: (line: string) => void,
): Promise<FinetuneResult> {
  const limit = Date.now() + LIMIT_MS;
  await persist(async () =>
    (await machine.client()).workflow.start(FINETUNE, {
      taskQueue: TASK_QUEUE,
      workflowId: id,
      args: [config],
      workflowIdConflictPolicy: "USE_EXISTING",
    }),
  );
  const view = new View(machine);
  const watching = view.watch(id);
  try {
    await strikeAll([...faults], struck, machine, view, say, limit);
    while (!view.ended) {
      if (Date.now() > limit) throw new Error(`the run has not ended after ${LIMIT_MS / 1000} s; under way: ${view.activities.join(", ")}`);
      await sleep(50);
    }
  } finally {
    view.ended = true;
    await watching;
  }
  try {
    return (await persist(async () => (await machine.client()).workflow.getHandle(id).result())) as FinetuneResult;
  } catch (error) {
    throw new Error(`the run failed: ${messageOf(error instanceof WorkflowFailedError ? (error.cause ?? error) : error)}`, {
      cause: error,
    });
  }
}

/** Waits for each fault's moment and strikes; a moment that cannot come any more is left out. */
async function strikeAll(
  faults: Fault[],
  struck: Fault[],
  machine: ChaosMachine,
  view: View,
  say: (line: string) => void,
  limit: number,
): Promise<void> {
  for (let fault = faults[0]; fault !== undefined && Date.now() < limit; fault = faults[0]) {
    if (view.ended) return;
    const here = view.has(fault.moment);
    if (!here && !view.isBeyond(MOMENTS[fault.moment])) {
      await sleep(LOOK_MS);
      continue;
    }
    faults.shift();
    const done = here && (await sleep(fault.delayMs, true)) && (await strike(fault, machine, view));
    if (done) struck.push(fault);
    say(`  ${done ? describe(fault) : `missed: ${describe(fault)}`}`);
    if (done) await sleep(BETWEEN_MS);
  }
}

/** Calls again while the server is away. */
async function persist<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++)
    try {
      return await call();
    } catch (error) {
      if (attempt === 60 || error instanceof WorkflowFailedError) throw error;
      await sleep(500);
    }
}

async function digestInS3(
  uri: string,
  key: string,
  access: { endpoint: string; region: string; accessKeyId: string; secretAccessKey: string },
): Promise<string> {
  const { endpoint, region, ...credentials } = access;
  const bytes = await openStore(uri, { endpoint, region, credentials }).read(key);
  if (bytes === null) throw new Error(`the bucket lacks ${uri}/${key}`);
  const hash = createHash("sha256");
  for await (const chunk of bytes) hash.update(chunk);
  return hash.digest("hex");
}
