import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { exportOnnx, externalDataConfig } from "../../../activities/publish/onnx.js";
import type { GptNeoxShape } from "../../../core/model/gpt-neox/config.js";
import type { GptjShape } from "../../../core/model/gptj/config.js";
import { planExport } from "../../../core/model/export.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { REFERENCE, reference, worstShare, type Reference } from "../../core/model/reference.js";

const tiny = reference("gptj-tiny");
const described = tiny.model;
const root = mkdtempSync(join(tmpdir(), "roslin-onnx-"));
after(() => rmSync(root, { recursive: true }));

/** Logits of the first row, as anybody's ONNX Runtime gives them from the files. */
async function logitsOf(path: string, { model, expected }: Reference): Promise<Float32Array> {
  const { layers, heads, headWidth } = model.shape as GptjShape | GptNeoxShape;
  const session = await InferenceSession.create(path);
  const row = expected.input_ids[0]!;
  const int64 = (values: readonly number[], shape: number[]): Tensor => new Tensor("int64", BigInt64Array.from(values, BigInt), shape);
  const feeds: Record<string, Tensor> = {
    input_ids: int64(row, [1, row.length]),
    attention_mask: int64(Array<number>(row.length).fill(1), [1, row.length]),
    position_ids: int64([...row.keys()], [1, row.length]),
    num_logits_to_keep: int64([0], []),
  };
  for (let layer = 0; layer < layers; layer++)
    for (const kind of ["key", "value"])
      feeds[`past_key_values.${layer}.${kind}`] = new Tensor("float32", new Float32Array(0), [1, heads, 0, headWidth]);
  const { logits } = await session.run(feeds);
  await session.release();
  return logits!.data as Float32Array;
}

for (const [kind, limits, files] of [
  ["in one file", { inline: 1e9, data: 1e9 }, ["model.onnx"]],
  [
    "with its weights in files beside it",
    { inline: 0, data: 200_000 },
    ["model.onnx", "model.onnx_data", "model.onnx_data_1", "model.onnx_data_2", "model.onnx_data_3"],
  ],
] as const) {
  test(`an export ${kind} gives PyTorch's logits`, async () => {
    const directory = join(root, String(files.length));
    const model = new ModelFiles(join(REFERENCE, "gptj-tiny"));
    const plan = planExport(described, limits);
    assert.deepEqual(await exportOnnx(model, plan, directory, new AbortController().signal), files);
    const made = statSync(join(directory, "model.onnx")).mtimeMs;
    await exportOnnx(model, plan, directory, new AbortController().signal);
    assert.equal(statSync(join(directory, "model.onnx")).mtimeMs, made);
    model.close();
    const logits = await logitsOf(join(directory, "model.onnx"), tiny);
    assert.ok(worstShare(logits, tiny.tensors("expected-logits.safetensors").get("logits")!.subarray(0, logits.length)) < 1e-4);
    const count = files.length - 1;
    assert.deepEqual(
      externalDataConfig(plan),
      count === 0 ? null : { "transformers.js_config": { use_external_data_format: { "model.onnx": count } } },
    );
  });
}

for (const name of ["gpt-neox-serial", "gpt-neox-tied"])
  test(`an export gives PyTorch's logits: ${name}`, async () => {
    const known = reference(name);
    const directory = join(root, name);
    const model = new ModelFiles(join(REFERENCE, name));
    await exportOnnx(model, planExport(known.model, { inline: 1e9, data: 1e9 }), directory, new AbortController().signal);
    model.close();
    // the row's padding sees itself, which is nothing that PyTorch's logits have
    const length = known.rows[0]!.inputIds.length * known.model.shape.vocabulary;
    const logits = (await logitsOf(join(directory, "model.onnx"), known)).subarray(0, length);
    assert.ok(worstShare(logits, known.tensors("expected-logits.safetensors").get("logits")!.subarray(0, length)) < 1e-5);
  });
