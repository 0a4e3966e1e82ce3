import assert from "node:assert/strict";
import { test } from "node:test";
import type { TensorInfo } from "../../../../core/graph/tensor.js";
import { cacheBytes, Caches } from "../../../../engines/onnx/inference/caches.js";

const INPUTS: readonly TensorInfo[] = [
  { name: "input_ids", type: "int64", shape: ["batch", "sequence"] },
  ...["key", "value"].map((kind) => ({
    name: `past_key_values.0.${kind}`,
    type: "float32" as const,
    shape: ["batch", 2, "room", 8],
  })),
];

test("caches take the bytes that are counted, and no more room than is asked for", () => {
  assert.equal(cacheBytes(INPUTS, 100), 2 * 2 * 100 * 8 * 4);
  const caches = new Caches(INPUTS, 3, 128);
  const bytes = (): number =>
    Object.values(caches.slice(0, 3).past).reduce((sum, { data }) => sum + (data as Float32Array).buffer.byteLength, 0);
  for (const [tokens, room] of [
    [100, 100],
    [101, 101],
    [500, 128],
  ] as const) {
    caches.reserve(tokens, [100, 1]);
    assert.equal(caches.room, room);
    assert.equal(bytes(), 3 * cacheBytes(INPUTS, room));
  }
});
