import assert from "node:assert/strict";
import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Stage } from "../../../../activities/common/stage.js";
import { finishTraining } from "../../../../activities/train/run/finish.js";
import { planWeights } from "../../../../core/format/weight-files.js";
import { elements } from "../../../../core/graph/tensor.js";
import { allParameters } from "../../../../core/model/family.js";
import { artifactOf } from "../../../../infra/disk/files.js";
import { ModelFiles } from "../../../../infra/weights/model-files.js";
import { trainLocally } from "../../../../workers/local-training.js";
import { trainDeps } from "../../../../workers/train-deps.js";
import { reference, REFERENCE } from "../../../core/model/reference.js";
import { job, madeRows, type Job } from "../../../workers/tiny.js";
import { trainDefinition } from "../../../../activities/train/definition.js";

/** A job's request on a base of its own: `change` is given its directory. */
async function onBase({ request }: Job, change: (directory: string) => void): Promise<Job["request"]> {
  const directory = join(request.root, "base");
  cpSync(join(REFERENCE, "gptj-tiny"), directory, { recursive: true });
  change(directory);
  const model = await artifactOf("model", directory);
  return { ...request, inputs: request.inputs.map((input) => (input.name === "model" ? model : input)) };
}

const specs = [
  { name: "b", shape: [2, 3] },
  { name: "a", shape: [10] },
  { name: "c", shape: [100] },
  { name: "d", shape: [1] },
];

test("weights that fit into one file have no index", () => {
  const { files, index } = planWeights(specs, "F32", 4 * 117);
  assert.deepEqual([files.map(({ name }) => name), index], [["model.safetensors"], null]);
});

test("larger ones are numbered files in the order of names, none above the limit but for one tensor that is, and an index that names all", () => {
  const { files, index } = planWeights(specs, "F16", 32);
  assert.deepEqual(
    files.map(({ name, weights }) => [name, ...weights.map((spec) => spec.name)]),
    [
      ["model-00001-of-00003.safetensors", "a", "b"],
      ["model-00002-of-00003.safetensors", "c"],
      ["model-00003-of-00003.safetensors", "d"],
    ],
  );
  assert.equal(index!.name, "model.safetensors.index.json");
  assert.deepEqual(JSON.parse(index!.text), {
    metadata: { total_size: 234 },
    weight_map: {
      a: "model-00001-of-00003.safetensors",
      b: "model-00001-of-00003.safetensors",
      c: "model-00002-of-00003.safetensors",
      d: "model-00003-of-00003.safetensors",
    },
  });
});

test("a model in several files holds what the one file held, with the same digest of its state, and neither leaves files of the other", async (t) => {
  const { request, context } = await job(t, madeRows(5), { shards: 2, maxSteps: 2 });
  const { stateDigest } = await trainLocally(trainDeps, request, 1, context());
  const directory = new Stage(trainDefinition, request).directory;
  const model = join(directory, "model");
  const read = (): Map<string, Float32Array> => {
    const files = new ModelFiles(model);
    const floats = allParameters(reference("gptj-tiny").model.parameters).map(({ name, shape }) => {
      const out = new Float32Array(elements(shape));
      files.readFloats(name, 0, out);
      return [name, out] as const;
    });
    files.close();
    return new Map(floats);
  };
  const single = read();
  const again = async (maxBytes?: number): Promise<void> => {
    rmSync(join(directory, "stage.json"));
    assert.equal((await finishTraining(trainDeps, request, context(), maxBytes))!.stateDigest, stateDigest);
  };
  await again(100_000);
  const names = readdirSync(model).sort();
  const shards = names.filter((name) => /^model-\d{5}-of-\d{5}\.safetensors$/.test(name));
  assert.ok(shards.length > 2);
  assert.deepEqual(names, ["config.json", "generation_config.json", ...shards, "model.safetensors.index.json"].sort());
  for (const name of shards) assert.ok(statSync(join(model, name)).size < 110_000);
  assert.equal((JSON.parse(readFileSync(join(model, "config.json"), "utf8")) as { use_cache: boolean }).use_cache, true);
  assert.deepEqual(read(), single);
  await again();
  const config = JSON.parse(readFileSync(join(model, "config.json"), "utf8")) as { eos_token_id: unknown };
  const generation = JSON.parse(readFileSync(join(model, "generation_config.json"), "utf8")) as { eos_token_id: unknown };
  assert.deepEqual(generation.eos_token_id, config.eos_token_id);
  assert.deepEqual(readdirSync(model).sort(), ["config.json", "generation_config.json", "model.safetensors"]);
});

test("a trained weight that is infinite in the base's half precision is named, and no model is left", async (t) => {
  const made = await job(t, madeRows(5), { shards: 2, maxSteps: 1, learningRate: 1e5 });
  // torch's file of the same weights is in half precision
  const request = await onBase(made, (directory) => rmSync(join(directory, "model.safetensors")));
  await assert.rejects(trainLocally(trainDeps, request, 1, made.context()), {
    name: "UserError",
    message:
      /^a trained weight is not finite in the model's own dtype, F16: .*\[tensor=lm_head\.bias, index=\[\d+\], got=-?\d{5,6}(\.\d+)?\]$/,
  });
  const { directory } = new Stage(trainDefinition, request);
  assert.ok(!readdirSync(join(directory, "model")).includes("model.safetensors"));
  // the same weights fit into full precision
  await trainLocally(trainDeps, made.request, 1, made.context());
});

test("a base that asks for dropout is trained without, which training says; the tuned model's config keeps the base's values", async (t) => {
  const made = await job(t, madeRows(5), { shards: 2, maxSteps: 2 });
  const request = await onBase(made, (directory) => {
    const path = join(directory, "config.json");
    writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, "utf8")) as object), attn_pdrop: 0.1 }));
  });
  const { stateDigest } = await trainLocally(trainDeps, request, 1, made.context());
  assert.ok(made.seen.some(({ note, lasting }) => note?.includes("dropout (attn_pdrop 0.1)") === true && lasting === true));
  const config = JSON.parse(readFileSync(join(new Stage(trainDefinition, request).directory, "model", "config.json"), "utf8")) as object;
  assert.equal((config as { attn_pdrop: number }).attn_pdrop, 0.1);
  assert.equal(stateDigest, (await trainLocally(trainDeps, made.request, 1, made.context())).stateDigest);
});
