import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseRunConfig } from "../../core/config/schema.js";
import { rowsOfStep } from "../../core/training/order.js";
import { trainLocally } from "../../workers/local-training.js";
import { trainDeps } from "../../workers/train-deps.js";
import { assertClose, assertSameTensors, readTensors, reference } from "../core/model/reference.js";
import { job } from "./tiny.js";

/** The whole stage in processes of its own, with as many workers as stand here. */
const WORKERS = {
  "gptj-tiny": 1,
  "gptj-odd": 2,
  "gptj-one-head": 3,
  "gptj-deep": 5,
  "gpt-neox-serial": 2,
  "gpt-neox-tied": 3,
} as const;

for (const [name, workers] of Object.entries(WORKERS))
  test(`20 steps of training give PyTorch's losses, norms and weights: ${name}, ${workers} workers`, async (t) => {
    const { rows, expected, tensors, train } = reference(name);
    const { request, context } = await job(t, rows, train, name);
    for (const [step, taken] of (expected.steps ?? []).entries())
      assert.deepEqual(rowsOfStep(rows.length, parseRunConfig({ train }).train, step).flat(), taken, "PyTorch took the same rows");
    const { outputs, metrics } = await trainLocally(trainDeps, request, workers, context());
    assertClose(metrics["losses"] as number[], expected.training_losses, 1e-5);
    assertClose(metrics["gradientNorms"] as number[], expected.gradient_norms_before_clipping, 1e-5);
    const model = fileURLToPath(outputs[0]!.uri);
    assertSameTensors(readTensors(join(model, "model.safetensors")), tensors("expected-after-20-steps.safetensors"), 6e-5);
    assert.equal((JSON.parse(await readFile(join(model, "config.json"), "utf8")) as { use_cache: boolean }).use_cache, true);
    assert.equal((await trainLocally(trainDeps, request, 1, context())).reused, true, "whatever the number of workers");
  });
