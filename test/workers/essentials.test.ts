import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { arrayFromPayloads, defaultPayloadConverter } from "@temporalio/common";
import type { StageResult } from "../../core/stages/results.js";
import { parseRunConfig } from "../../core/config/schema.js";
import { CHECKOUT } from "../../workers/environment.js";
import { essentials, requestOf } from "../../workers/essentials.js";
import type { StageInput } from "../../workflows/contract.js";
import { readHistory } from "../workflows/history.js";

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

test("a step without a loss counts among the steps, and the ends are of those that have one", () => {
  const sent = (losses: readonly (number | null)[]): unknown =>
    essentials({ stage: "train", reused: false, outputs: [], metrics: { seconds: 1, losses } } as unknown as StageResult<"train">).metrics
      .losses;
  const many = [null, ...Array.from({ length: 20 }, (_, step) => 5 - step / 10), null];
  assert.deepEqual(sent(many), { count: 22, first: 5, last: 3.1, min: 3.1, max: 5 });
  assert.deepEqual(sent(Array<null>(20).fill(null)), { count: 20, first: null, last: null, min: null, max: null });
  assert.deepEqual(sent([null, 1, null]), [null, 1, null]);
});

test("a config that was recorded before a field came has its default", () => {
  const { lifecycle, tags, ...older } = parseRunConfig({}).publish;
  const config = { ...parseRunConfig({}), publish: { ...older, target: "s3://bucket/models" } } as ReturnType<typeof parseRunConfig>;
  const request = requestOf({ config, inputs: [] }, "/root");
  assert.deepEqual(request, { config: { ...config, publish: { ...config.publish, lifecycle, tags } }, inputs: [], root: "/root" });
});

test("a run that an earlier version planned goes on: what its stages were given then is a whole config now", async () => {
  const { events } = await readHistory(join(CHECKOUT, "test", "workflows", "histories", "clean.json"));
  const given = events!.flatMap(({ activityTaskScheduledEventAttributes: scheduled }) =>
    ["download", "preprocess", "beginTraining", "evaluate", "publish"].includes(scheduled?.activityType?.name ?? "")
      ? [arrayFromPayloads(defaultPayloadConverter, scheduled!.input!.payloads)[0] as StageInput]
      : [],
  );
  assert.equal(given.length, 5);
  const { dataset, preprocess } = parseRunConfig({});
  for (const input of given) {
    assert.ok(!Object.keys(input.config.dataset).includes("columns"), "it was recorded before the field came");
    const { config } = requestOf(input, "/root");
    assert.deepEqual(config.dataset, { ...dataset, source: input.config.dataset.source });
    assert.deepEqual(Object.keys(config.preprocess), Object.keys(preprocess));
    assert.equal(config.publish.target, input.config.publish.target);
  }
});
