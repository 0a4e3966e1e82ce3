import assert from "node:assert/strict";
import { cpSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Stage } from "../../../../activities/common/stage.js";
import { trainDefinition } from "../../../../activities/train/definition.js";
import { outputNamed } from "../../../../core/stages/results.js";
import { artifactOf } from "../../../../infra/disk/files.js";
import { AdapterFiles } from "../../../../infra/weights/adapter-files.js";
import { ModelFiles } from "../../../../infra/weights/model-files.js";
import { trainLocally } from "../../../../workers/local-training.js";
import { trainDeps } from "../../../../workers/train-deps.js";
import { reference, REFERENCE } from "../../../core/model/reference.js";
import { job, madeRows, type Job } from "../../../workers/tiny.js";

const LORA = { rank: 2, alpha: 4, targets: ["q_proj", "fc_in"], dropout: 0.25 };
const TRAIN = { method: "lora", lora: LORA, shards: 2, maxSteps: 2, learningRate: 1e-2 };

/** The same job on a base that has the adapter of `from` beside it. */
async function goingOn({ request }: Job, from: string): Promise<Job["request"]> {
  const directory = join(request.root, "base with adapter");
  cpSync(join(REFERENCE, "gptj-tiny"), directory, { recursive: true });
  for (const name of ["adapter_config.json", "adapter_model.safetensors"]) cpSync(join(from, name), join(directory, name));
  const model = await artifactOf("model", directory);
  return { ...request, inputs: request.inputs.map((input) => (input.name === "model" ? model : input)) };
}

test("training adapters leaves an adapter's directory as PEFT reads it, and goes on with it", async (t) => {
  const made = await job(t, madeRows(5), TRAIN);
  const result = await trainLocally(trainDeps, made.request, 1, made.context());
  const directory = fileURLToPath(outputNamed(result.outputs, "tuned").uri);
  assert.deepEqual(readdirSync(directory).sort(), [
    "adapter_config.json",
    "adapter_model.safetensors",
    "config.json",
    "generation_config.json",
  ]);
  const config = JSON.parse(readFileSync(join(directory, "adapter_config.json"), "utf8")) as Record<string, unknown>;
  assert.deepEqual(
    ["target_modules", "r", "lora_alpha", "lora_dropout", "base_model_name_or_path"].map((field) => config[field]),
    [["fc_in", "q_proj"], 2, 4, 0.25, null],
  );
  const base = reference("gptj-tiny").model;
  new AdapterFiles(directory, base).close();

  const second = await job(t, madeRows(5), TRAIN);
  const request = await goingOn(second, directory);
  const again = await trainLocally(trainDeps, request, 1, second.context());
  assert.notEqual(again.stateDigest, result.stateDigest);
  assert.notEqual(outputNamed(again.outputs, "tuned").sha256, outputNamed(result.outputs, "tuned").sha256);
  // its base is read without the adapter
  new ModelFiles(join(request.root, "base with adapter")).close();
});

test("an adapter that is zero, or that training left as it was, is an error, and no adapter is left", async (t) => {
  const idle = { ...TRAIN, learningRate: 0 };
  const made = await job(t, madeRows(5), idle);
  await assert.rejects(trainLocally(trainDeps, made.request, 1, made.context()), {
    name: "UserError",
    message: /^training left the adapter zero, so there is nothing to publish: raise train\.learningRate/,
  });
  const { directory } = new Stage(trainDefinition, made.request);
  assert.ok(!readdirSync(join(directory, "model")).includes("adapter_model.safetensors"));

  const trained = await job(t, madeRows(5), TRAIN);
  const { outputs } = await trainLocally(trainDeps, trained.request, 1, trained.context());
  const second = await job(t, madeRows(5), idle);
  const request = await goingOn(second, fileURLToPath(outputNamed(outputs, "tuned").uri));
  await assert.rejects(trainLocally(trainDeps, request, 1, second.context()), {
    message: /^training left the adapter as it was before, so there is nothing to publish/,
  });
});
