import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { exportOnnx, externalDataConfig } from "../../../activities/publish/onnx.js";
import type { GptjShape } from "../../../core/model/gptj/config.js";
import { planExport } from "../../../core/model/export.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { REFERENCE, reference, worstShare } from "../../core/model/reference.js";

const { model: described, expected, tensors } = reference("gptj-tiny");
const config = described.shape as GptjShape;
const root = mkdtempSync(join(tmpdir(), "roslin-onnx-"));
after(() => rmSync(root, { recursive: true }));

/** Logits of the first row, as anybody's ONNX Runtime gives them from the files. */
async function logitsOf(path: string): Promise<Float32Array> {
  const session = await InferenceSession.create(path);
  const row = expected.input_ids[0]!;
  const int64 = (values: readonly number[], shape: number[]): Tensor => new Tensor("int64", BigInt64Array.from(values, BigInt), shape);
  const feeds: Record<string, Tensor> = {
    input_ids: int64(row, [1, row.length]),
    attention_mask: int64(Array<number>(row.length).fill(1), [1, row.length]),
    position_ids: int64([...row.keys()], [1, row.length]),
    num_logits_to_keep: int64([0], []),
  };
  for (let layer = 0; layer < config.layers; layer++)
    for (const kind of ["key", "value"])
      feeds[`past_key_values.${layer}.${kind}`] = new Tensor("float32", new Float32Array(0), [1, config.heads, 0, config.headWidth]);
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
    const logits = await logitsOf(join(directory, "model.onnx"));
    assert.ok(worstShare(logits, tensors("expected-logits.safetensors").get("logits")!.subarray(0, logits.length)) < 1e-4);
    const count = files.length - 1;
    assert.deepEqual(
      externalDataConfig(plan),
      count === 0 ? null : { "transformers.js_config": { use_external_data_format: { "model.onnx": count } } },
    );
  });
}
