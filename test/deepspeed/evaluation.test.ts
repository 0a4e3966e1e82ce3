import assert from "node:assert/strict";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { EngineName } from "../../core/config/engines.js";
import type { StageResult } from "../../core/stages/results.js";
import { trainLocally } from "../../workers/local-training.js";
import { places } from "../engines/places.js";
import { job, madeRows } from "../workers/tiny.js";

/** The loss on the test rows, by DeepSpeed: the ONNX engine's figures, and nothing that is trained has other bits. */

const RANK = join(import.meta.dirname, "..", "engines", "rank-child.js");
const TRAIN = { shards: 4, microBatch: 1, accumulation: 2, epochs: 2, learningRate: 1e-3 };
/** five test rows: not all shards have one in each micro-batch */
const TEST = [1, 8, 12, 16, 19];

async function train(t: TestContext, engine: EngineName, settings: object): Promise<StageResult<"train">> {
  const { request, context } = await job(t, madeRows(21), { ...TRAIN, engine, ...settings }, "gptj-tiny", TEST);
  return await trainLocally(places, request, 2, context(), RANK);
}

function assertAsOnnx(run: StageResult<"train">, onnx: StageResult<"train">): void {
  const [got, expected] = [run.metrics.evaluations!, onnx.metrics.evaluations!];
  assert.deepEqual(
    got.map(({ step }) => step),
    expected.map(({ step }) => step),
  );
  for (const [index, { loss }] of got.entries())
    assert.ok(Math.abs(loss! - expected[index]!.loss!) < 1e-5, `${loss} ${expected[index]!.loss}`);
}

test("full training", async (t) => {
  const settings = { evalEverySteps: 3 };
  const run = await train(t, "deepspeed", settings);
  assertAsOnnx(run, await train(t, "onnx", settings));
  assert.equal(run.stateDigest, (await train(t, "deepspeed", {})).stateDigest);
});

test("adapters, without their dropout", async (t) => {
  const settings = { method: "lora", lora: { rank: 4, dropout: 0.5 }, learningRate: 1e-2, evalEverySteps: 2 };
  assertAsOnnx(await train(t, "deepspeed", settings), await train(t, "onnx", settings));
});
