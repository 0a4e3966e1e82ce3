import assert from "node:assert/strict";
import { test } from "node:test";
import type { StageResult } from "../../core/stages/results.js";
import { parseRunConfig } from "../../core/config/schema.js";
import { essentials, requestOf } from "../../workers/essentials.js";

test("of long lists the ends remain, and nothing that JSON lacks", () => {
  const losses = Array.from({ length: 800 }, (_, step) => 5 - step / 200);
  const result = {
    stage: "train",
    reused: false,
    outputs: [{ name: "model", uri: "file:///model", sha256: "0".repeat(64), bytes: 1 }],
    metrics: { seconds: 1, losses, gradientNorms: [1, 2], worst: Number.NaN, nested: { words: Array.from({ length: 99 }, () => "word") } },
    stateDigest: "d",
  };
  const { metrics, ...rest } = essentials(result as unknown as StageResult) as unknown as { readonly metrics: Record<string, unknown> };
  assert.deepEqual(metrics["losses"], { count: 800, first: 5, last: losses[799], min: losses[799], max: 5 });
  assert.deepEqual(metrics["gradientNorms"], [1, 2]);
  assert.equal(metrics["worst"], "NaN");
  assert.equal((metrics["nested"] as { words: string[] }).words.length, 12);
  const { metrics: _all, ...same } = result;
  assert.deepEqual(rest, same);
});

test("a config that was recorded before a field came has its default", () => {
  const { lifecycle, tags, ...older } = parseRunConfig({}).publish;
  const config = { ...parseRunConfig({}), publish: { ...older, target: "s3://bucket/models" } } as ReturnType<typeof parseRunConfig>;
  const request = requestOf({ config, inputs: [] }, "/root");
  assert.deepEqual(request, { config: { ...config, publish: { ...config.publish, lifecycle, tags } }, inputs: [], root: "/root" });
});
