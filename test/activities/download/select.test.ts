import assert from "node:assert/strict";
import { test } from "node:test";
import { selectIndexed, selectModelFiles } from "../../../activities/download/select.js";

test("of a model, config, tokenizer and safetensors are taken: the single file before the shards", () => {
  const shards = ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const others = ["README.md", "pytorch_model.bin", "onnx/model.onnx", "flax_model.msgpack"];
  assert.deepEqual(selectModelFiles(["config.json", "vocab.json", ...others, ...shards], "m"), ["config.json", "vocab.json", ...shards]);
  assert.deepEqual(selectModelFiles(["config.json", "model.safetensors", ...shards], "m"), ["config.json", "model.safetensors"]);
});

test("torch files are taken where there are no safetensors", () => {
  const shards = ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];
  const others = ["training_args.bin", "flax_model.msgpack", "tf_model.h5"];
  assert.deepEqual(selectModelFiles(["config.json", "pytorch_model.bin", ...others], "m"), ["config.json", "pytorch_model.bin"]);
  assert.deepEqual(selectModelFiles(["config.json", ...others, ...shards], "m"), ["config.json", ...shards]);
  assert.throws(() => selectModelFiles(["config.json", ...others], "m"), /a model needs weights.*pytorch_model\.bin\.index\.json/);
});

test("of weights with an index those that it names are taken", () => {
  const index = "model.safetensors.index.json";
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const all = ["config.json", "merges.txt", index, ...shards, "consolidated.safetensors", "model.fp16-00001-of-00002.safetensors"];
  const text = JSON.stringify({ weight_map: { a: shards[1], b: shards[0], c: shards[0] } });
  assert.deepEqual(selectIndexed(selectModelFiles(all, "m"), index, text, all), all.slice(0, 5));
  assert.throws(
    () => selectIndexed(all.slice(0, 4), index, text, all.slice(0, 4)),
    /index names is missing.*missing=model-00002-of-00002\.safetensors/,
  );
});
