import assert from "node:assert/strict";
import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Stage, type StageRequest } from "../../activities/common/stage.js";
import { trainDefinition } from "../../activities/train/definition.js";
import type { EngineName } from "../../core/config/engines.js";
import { elements } from "../../core/graph/tensor.js";
import { allParameters } from "../../core/model/family.js";
import { outputNamed, type StageResult } from "../../core/stages/results.js";
import { ModelFiles } from "../../infra/weights/model-files.js";
import { trainLocally } from "../../workers/local-training.js";
import { places } from "../engines/places.js";
import { job, madeRows, type Job } from "../workers/tiny.js";

/** DeepSpeed against the ONNX engine: the same losses and weights, and checkpoints that either goes on from. */

const RANK = join(import.meta.dirname, "..", "engines", "rank-child.js");

/** Everything that a step does: several passes, smaller last steps, a schedule, decay, clipping. */
const TRAIN = {
  shards: 4,
  microBatch: 1,
  accumulation: 2,
  epochs: 7,
  maxSteps: 20,
  learningRate: 1e-3,
  schedule: "cosine",
  warmupSteps: 3,
  weightDecay: 0.01,
  checkpointEverySteps: 6,
};

type Train = Partial<StageRequest["config"]["train"]>;

function requested({ request }: Job, train: Train): StageRequest {
  return { ...request, config: { ...request.config, train: { ...request.config.train, ...train } } };
}

function train(made: Job, settings: Train, workers: number, signal?: AbortSignal): Promise<StageResult<"train">> {
  return trainLocally(places, requested(made, settings), workers, made.context(signal), RANK);
}

const make = (t: TestContext): Promise<Job> => job(t, madeRows(21), TRAIN);

/** The largest distance of two runs' losses. */
function lossDistance(a: StageResult<"train">, b: StageResult<"train">): number {
  const [losses, others] = [a.metrics.losses!, b.metrics.losses!];
  assert.equal(losses.length, TRAIN.maxSteps);
  assert.equal(others.length, TRAIN.maxSteps);
  return Math.max(...losses.map((loss, step) => Math.abs(loss! - others[step]!)));
}

/** The largest distance of two runs' weights, as a share of each tensor's largest weight. */
function weightDistance(a: StageResult<"train">, b: StageResult<"train">): number {
  const [files, others] = [a, b].map(({ outputs }) => new ModelFiles(fileURLToPath(outputNamed(outputs, "tuned").uri))) as [
    ModelFiles,
    ModelFiles,
  ];
  const distances = allParameters(files.model.parameters).map(({ name, shape }) => {
    const [weights, other] = [files, others].map((each) => {
      const values = new Float32Array(elements(shape));
      each.readFloats(name, 0, values);
      return values;
    }) as [Float32Array, Float32Array];
    const largest = weights.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return weights.reduce((most, value, index) => Math.max(most, Math.abs(value - other[index]!)), 0) / largest;
  });
  files.close();
  others.close();
  return Math.max(...distances);
}

/** Trains with one engine on two ranks until its first checkpoint, then with another one, or on more ranks, to the end. */
async function handedOver(t: TestContext, from: EngineName, to: EngineName, workers: number): Promise<StageResult<"train">> {
  for (;;) {
    const made = await make(t);
    const [first, second] = [from, to].map((engine) => new Stage(trainDefinition, requested(made, { engine })).directory) as [
      string,
      string,
    ];
    const stop = new AbortController();
    const running = train(made, { engine: from }, 2, stop.signal).then(
      () => "finished",
      () => "stopped",
    );
    while (!existsSync(join(first, "commits", "000002.json"))) await sleep(2);
    stop.abort(new Error("enough with this engine"));
    if ((await running) === "finished") continue;
    if (from !== to) cpSync(first, second, { recursive: true });
    const run = await train(made, { engine: to }, workers);
    assert.ok(run.metrics.resumedAtStep! > 0);
    assert.equal(run.metrics.fingerprint!["engine"], to);
    return run;
  }
}

test("in fp32 20 steps have the losses and weights of the ONNX engine, and a run goes from one engine to the other", async (t) => {
  const made = await make(t);
  const onnx = await train(made, {}, 1);
  const deepspeed = await train(made, { engine: "deepspeed" }, 2);
  const distances = [lossDistance(onnx, deepspeed), weightDistance(onnx, deepspeed)] as const;
  t.diagnostic(`losses ${distances[0]}, weights ${distances[1]}`);
  assert.ok(distances[0] <= 5e-6, `losses lie ${distances[0]} apart`);
  assert.ok(distances[1] <= 1e-3, `weights lie ${distances[1]} apart`);
  for (const [from, to] of [
    ["onnx", "deepspeed"],
    ["deepspeed", "onnx"],
  ] as const) {
    const run = await handedOver(t, from, to, 2);
    t.diagnostic(`from ${from} to ${to}: losses ${lossDistance(onnx, run)}, weights ${weightDistance(onnx, run)}`);
    assert.ok(lossDistance(onnx, run) <= 5e-6, `from ${from} to ${to}`);
    assert.ok(weightDistance(onnx, run) <= 1e-3, `from ${from} to ${to}`);
  }
});

test("a run that goes on with more ranks has the losses of an undisturbed one but for rounding", async (t) => {
  const undisturbed = await train(await make(t), { engine: "deepspeed" }, 2);
  const run = await handedOver(t, "deepspeed", "deepspeed", 4);
  assert.equal(run.metrics.fingerprint!["ranks"], 4);
  const distance = lossDistance(undisturbed, run);
  t.diagnostic(`losses ${distance}, weights ${weightDistance(undisturbed, run)}`);
  assert.ok(distance <= 1e-6, `losses lie ${distance} apart`);
});

test("in bf16 20 steps have the losses of the ONNX engine but for rounding", async (t) => {
  const made = await make(t);
  const onnx = await train(made, {}, 1);
  const bf16 = await train(made, { engine: "deepspeed", precision: "bf16" }, 2);
  const distance = lossDistance(onnx, bf16);
  t.diagnostic(`losses ${distance}, weights ${weightDistance(onnx, bf16)}`);
  assert.ok(distance <= 2e-3, `losses lie ${distance} apart`);
  assert.ok(distance > 1e-5, "it did compute in bf16");
});
