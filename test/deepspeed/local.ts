import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Stage } from "../../activities/common/stage.js";
import { trainDefinition } from "../../activities/train/definition.js";
import type { StageResult } from "../../core/stages/results.js";
import { trainLocally } from "../../workers/local-training.js";
import { places } from "../engines/places.js";
import { childrenOf } from "../workers/children.js";
import { job, madeRows, type Job } from "../workers/tiny.js";
import { rankProcesses } from "./processes.js";

/** A small training on two ranks without Temporal, as `roslin stage train` runs it, and what strikes its processes. */

const RANK = join(import.meta.dirname, "..", "engines", "rank-child.js");

/** 24 steps; the first checkpoint is the log's second entry. */
export const TRAIN = {
  engine: "deepspeed",
  shards: 2,
  microBatch: 1,
  accumulation: 2,
  epochs: 4,
  learningRate: 1e-3,
  checkpointEverySteps: 4,
};

type Gpus = Parameters<typeof trainLocally>[5];

/** Makes a job of `TRAIN`, or with other settings. */
export const make = (t: TestContext, settings: object = {}): Promise<Job> => job(t, madeRows(21), { ...TRAIN, ...settings });

export function train(made: Job, signal?: AbortSignal, gpus?: Gpus): Promise<StageResult<"train">> {
  return trainLocally(places, made.request, 2, made.context(signal), RANK, gpus);
}

/** The directory of a job's training. */
export const directoryOf = ({ request }: Job): string => new Stage(trainDefinition, request).directory;

/** The ranks' own processes, in their order. */
export function ranks(): number[] {
  return childrenOf(process.pid).sort((a, b) => a - b);
}

/** The Python processes of the ranks, in the order of the ranks. */
export function pythons(): number[] {
  return ranks().flatMap((rank) => childrenOf(rank));
}

/** Waits until it holds; returns the seconds that it took. */
export async function secondsUntil(holds: () => boolean): Promise<number> {
  const from = performance.now();
  while (!holds()) await sleep(5);
  return (performance.now() - from) / 1000;
}

/** Waits for a run's first checkpoint. */
export async function firstCheckpoint(made: Job): Promise<void> {
  await secondsUntil(() => existsSync(join(directoryOf(made), "commits", "000002.json")));
}

let first: Promise<StageResult<"train">> | undefined;
/** A run that nobody disturbs. */
const undisturbed = (t: TestContext): Promise<StageResult<"train">> => (first ??= make(t).then((made) => train(made)));

/** Starts a run, strikes it when it is ready, and sees that it begins again within a minute and comes to the same bytes. */
export async function struck(
  t: TestContext,
  strike: () => void | Promise<void>,
  ready: (made: Job) => Promise<unknown> = firstCheckpoint,
): Promise<Job> {
  const expected = await undisturbed(t);
  const made = await make(t);
  const running = train(made);
  await ready(made);
  await strike();
  const seconds = await secondsUntil(() => made.seen.some(({ note }) => note?.endsWith("starting again from the last checkpoint")));
  t.diagnostic(`known after ${seconds.toFixed(1)} s`);
  assert.ok(seconds < 60);
  const { metrics, stateDigest } = await running;
  assert.equal(stateDigest, expected.stateDigest);
  assert.equal(metrics.attempts, 2);
  assert.deepEqual(metrics.losses, expected.metrics.losses);
  assert.deepEqual(rankProcesses(), []);
  return made;
}
