import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRunConfig } from "../../../core/config/schema.js";
import { permutation } from "../../../core/rows/random.js";
import { lossTokens } from "../../../core/rows/labels.js";
import type { TokenSplit } from "../../../core/rows/token-rows.js";
import { elements } from "../../../core/graph/tensor.js";
import { modelOf } from "../../../core/model/families.js";
import { allParameters } from "../../../core/model/family.js";
import { sharedLayout, type Region, type SharedLayout } from "../../../engines/onnx/layout.js";
import { capacityOf, planStep } from "../../../core/training/step-plan.js";
import { hostedShards, sliceOf } from "../../../core/training/slices.js";

const model = modelOf({ model_type: "gptj", n_embd: 24, n_head: 3, n_layer: 3, n_positions: 64, rotary_dim: 4, vocab_size: 53 }, "test");

test("slices cover every row once, also when there are fewer rows than shards", () => {
  for (const rows of [0, 3, 8, 53, 50400])
    for (const shards of [1, 3, 8]) {
      let next = 0;
      for (let shard = 0; shard < shards; shard++) {
        const { start, end } = sliceOf(rows, shards, shard);
        assert.equal(start, next);
        next = end;
      }
      assert.equal(next, rows);
    }
});

test("every shard has one host, for any number of workers", () => {
  for (const workers of [1, 2, 3, 5, 8]) {
    const hosted = Array.from({ length: workers }, (_, worker) => hostedShards(8, workers, worker));
    assert.deepEqual(hosted.flat(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert.ok(hosted.every((shards) => shards.length > 0));
  }
});

function regionsOf(layout: SharedLayout): { region: Region; size: number }[] {
  const floats = [
    ...layout.weights.values(),
    ...layout.blockGradients.flat(),
    ...layout.normGradients,
    layout.hidden,
    ...layout.hiddenGradients,
    ...layout.headSums,
    layout.targetLogits,
    layout.embeddingGradients,
  ];
  return [...floats.map((region) => ({ region, size: 4 })), { region: layout.squares, size: 8 }];
}

test("no two regions of the shared memory overlap, and none leaves its segment", () => {
  const layout = sharedLayout(model, 8, { tokens: 1000, positions: 77 });
  const sorted = regionsOf(layout).sort((a, b) => a.region.segment - b.region.segment || a.region.offset - b.region.offset);
  let segment = 0;
  let end = 0;
  for (const { region, size } of sorted) {
    if (region.segment !== segment) [segment, end] = [region.segment, 0];
    assert.ok(region.offset >= end && region.offset % 64 === 0);
    end = region.offset + region.elements * size;
    assert.ok(end <= layout.segments[segment]!);
  }
  assert.equal(layout.weights.size, allParameters(model.parameters).length);
  assert.equal(layout.weights.get("lm_head.weight")!.elements, 53 * 24);
  const last = model.parameters.blocks[0]!.at(-1)!;
  assert.equal(layout.blockGradients[0]![0]!.elements >= layout.blockOffsets.at(-1)! + elements(last.shape), true);
});

test("a large model is laid out in segments of at most a gigabyte, or one tensor", () => {
  const six = modelOf({ model_type: "gptj", n_embd: 4096, n_head: 16, n_layer: 28, rotary_dim: 64, vocab_size: 50400 }, "6B");
  const layout = sharedLayout(six, 8, { tokens: 8192, positions: 5000 });
  assert.ok(layout.segments.length > 20);
  assert.ok(layout.segments.every((bytes) => bytes <= 2 ** 30 && bytes % 65536 === 0));
});

/** Rows of 3 to 9 tokens; every fourth carries no loss. */
const split: TokenSplit = {
  count: 29,
  row: (index) => {
    const length = 3 + (index % 7);
    const inputIds = Int32Array.from({ length }, (_, at) => (index * 7 + at) % 53);
    return {
      source: index,
      inputIds,
      labels: index % 4 === 0 ? new Int32Array(length).fill(-100) : inputIds.map((id, at) => (at < 2 ? -100 : id)),
    };
  },
};

test("a plan's counts add up, and its positions follow each other in the order of shards", () => {
  const { train } = parseRunConfig({ train: { shards: 4, microBatch: 2, accumulation: 2, epochs: 2 } });
  const seen: number[] = [];
  const capacity = capacityOf(split, train);
  for (let step = 0; step < 2; step++) {
    const plan = planStep(split, train, step);
    for (const batch of plan.microBatches) {
      let token = 0;
      let position = 0;
      for (const part of batch.shards) {
        assert.deepEqual([part.firstToken, part.firstPosition], [token, position]);
        assert.equal(
          part.positions,
          part.rows.reduce((sum, row) => sum + lossTokens(row.labels), 0),
        );
        token += part.tokens;
        position += part.positions;
        seen.push(...part.rows.map((row) => row.source));
      }
      assert.ok(batch.tokens === token && token <= capacity.tokens);
      assert.ok(batch.positions === position && position <= capacity.positions && position > 0);
    }
    assert.equal(plan.rows, step === 0 ? 16 : 13);
  }
  assert.equal(new Set(seen).size, seen.length, "no row twice in an epoch");
});

test("a micro-batch's rows are dealt so that no shard has much more to do than another", () => {
  const { train } = parseRunConfig({ train: { shards: 8, microBatch: 8 } });
  const lengths = Array.from(permutation(128, 1, 0), (place) => 40 + Math.round(600 * (place / 128) ** 3));
  const long: TokenSplit = {
    count: lengths.length,
    row: (index) => ({ source: index, inputIds: new Int32Array(lengths[index]!), labels: new Int32Array(lengths[index]!) }),
  };
  for (const step of [0, 1]) {
    const [batch] = planStep(long, train, step).microBatches;
    assert.ok(batch!.shards.every(({ rows }) => rows.length === train.microBatch));
    const most = Math.max(...batch!.shards.map(({ tokens }) => tokens));
    assert.ok(most < (1.1 * batch!.tokens) / train.shards, `${most} of ${batch!.tokens}`);
  }
  const few = planStep({ ...long, count: 5 }, train, 0).microBatches[0]!.shards;
  assert.deepEqual(
    few.map(({ rows }) => rows.length),
    [1, 1, 1, 1, 1],
    "few rows go to as many shards",
  );
});
