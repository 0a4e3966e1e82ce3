import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Stage, type StageRequest } from "../../activities/common/stage.js";
import { trainDefinition } from "../../activities/train/definition.js";
import { ENGINE_VERSIONS, type EngineName } from "../../core/config/engines.js";
import type { StageResult } from "../../core/stages/results.js";
import { trainLocally } from "../../workers/local-training.js";
import { places } from "../engines/places.js";
import { job, madeRows, type Job } from "../workers/tiny.js";

/** A run that one engine began and the other finishes, as a user has it: the settings name another engine, and nothing else is done. */

const RANK = join(import.meta.dirname, "..", "engines", "rank-child.js");
const STEPS = 12;
const TRAIN = {
  shards: 4,
  microBatch: 1,
  accumulation: 2,
  epochs: 4,
  maxSteps: STEPS,
  learningRate: 1e-3,
  schedule: "cosine",
  warmupSteps: 2,
  weightDecay: 0.01,
  checkpointEverySteps: 3,
};

type Train = Partial<StageRequest["config"]["train"]>;

const make = (t: TestContext): Promise<Job> => job(t, madeRows(21), TRAIN);

function requested({ request }: Job, train: Train): StageRequest {
  return { ...request, config: { ...request.config, train: { ...request.config.train, ...train } } };
}

function train(made: Job, settings: Train, signal?: AbortSignal): Promise<StageResult<"train">> {
  return trainLocally(places, requested(made, settings), 2, made.context(signal), RANK);
}

/** Trains on two ranks until the first checkpoint, after three steps, and stops; false: it had done all steps by then. */
async function begin(made: Job, settings: Train): Promise<boolean> {
  const { directory } = new Stage(trainDefinition, requested(made, settings));
  const stop = new AbortController();
  let over = false;
  const running = train(made, settings, stop.signal).then(
    () => (over = true),
    (error: Error) => {
      if (error.message !== "enough with this engine") throw error;
      return false;
    },
  );
  while (!existsSync(join(directory, "commits", "000002.json")) && !over) await sleep(2);
  stop.abort(new Error("enough with this engine"));
  return !(await running);
}

/** Begins in one way and finishes in another; the steps that the first one did, and the result. */
async function switched(t: TestContext, from: Train, to: Train): Promise<readonly [steps: number, run: StageResult<"train">]> {
  for (let tries = 0; tries < 5; tries++) {
    const made = await make(t);
    if (!(await begin(made, from))) continue;
    const run = await train(made, to);
    const steps = run.metrics.resumedAtStep!;
    assert.ok(steps >= 3 && steps < STEPS, `${steps} steps`);
    assert.equal(run.metrics.ledger!.proof.repeated, 0);
    assert.equal(run.metrics.oneKindOfMachine, false);
    return [steps, run];
  }
  throw new Error("it was never seen under way");
}

function by(engine: EngineName, precision = "fp32"): object {
  return { engine, engineVersion: ENGINE_VERSIONS[engine], precision };
}

/** The largest distance of the losses of two runs. */
function lossDistance(a: StageResult<"train">, b: StageResult<"train">): number {
  const [losses, others] = [a.metrics.losses!, b.metrics.losses!];
  assert.deepEqual([losses.length, others.length], [STEPS, STEPS]);
  return Math.max(...losses.map((loss, step) => Math.abs(loss! - others[step]!)));
}

let undisturbed: Promise<StageResult<"train">> | undefined;
const onnx = (t: TestContext): Promise<StageResult<"train">> => (undisturbed ??= make(t).then((made) => train(made, { engine: "onnx" })));

for (const [from, to] of [
  ["onnx", "deepspeed"],
  ["deepspeed", "onnx"],
] as const)
  test(`a run that ${from} began is finished by ${to}, with the losses of an undisturbed one`, async (t) => {
    const [steps, run] = await switched(t, { engine: from }, { engine: to });
    const distance = lossDistance(run, await onnx(t));
    t.diagnostic(`${steps} steps by ${from}, then ${to}: losses ${distance} from those of onnx alone`);
    assert.ok(distance <= 5e-6, `losses lie ${distance} apart`);
    assert.equal(run.metrics.fingerprint!["engine"], to);
    assert.deepEqual(run.metrics.computed, [
      { steps, by: by(from) },
      { steps: STEPS - steps, by: by(to) },
    ]);
  });

test("a run in fp32 is finished in bf16 by the same engine", async (t) => {
  const [steps, run] = await switched(t, { engine: "deepspeed" }, { engine: "deepspeed", precision: "bf16" });
  const distance = lossDistance(run, await onnx(t));
  t.diagnostic(`${steps} steps in fp32, then bf16: losses ${distance} from those of onnx alone`);
  assert.ok(distance <= 2e-3, `losses lie ${distance} apart`);
  assert.deepEqual(run.metrics.computed, [
    { steps, by: by("deepspeed") },
    { steps: STEPS - steps, by: by("deepspeed", "bf16") },
  ]);
});
