import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRunConfig } from "../../../core/config/schema.js";
import type { TokenSplit } from "../../../core/rows/token-rows.js";
import { capacityOf, evaluatesAfter, planEvaluation } from "../../../core/training/step-plan.js";

/** Rows of these lengths, all labels but the first. */
const splitOf = (lengths: readonly number[]): TokenSplit => ({
  count: lengths.length,
  row: (source) => ({ source, inputIds: new Int32Array(lengths[source]!), labels: new Int32Array(lengths[source]!) }),
});

const { train } = parseRunConfig({ train: { shards: 2, microBatch: 2, accumulation: 3, evalEverySteps: 4 } });

test("the test rows come in their order, in micro-batches as large as training's, each row once", () => {
  const plan = planEvaluation(splitOf([3, 9, 4, 5, 6, 2, 7]), train);
  const sources = plan.microBatches.map(({ shards }) => shards.flatMap(({ rows }) => rows.map(({ source }) => source)).sort());
  assert.deepEqual(sources, [
    [0, 1, 2, 3],
    [4, 5, 6],
  ]);
  assert.equal(plan.positions, 36 - 7);
  assert.deepEqual(planEvaluation(splitOf([]), train).microBatches, []);
});

test("it is due every so many steps and after the last one", () => {
  const due = (steps: typeof train): number[] =>
    Array.from({ length: 10 }, (_, at) => at + 1).filter((done) => evaluatesAfter(steps, done, 10));
  assert.deepEqual(due(train), [4, 8, 10]);
  assert.deepEqual(due({ ...train, evalEverySteps: null }), []);
});

test("memory is laid out for the test rows as well, if they are computed", () => {
  const [rows, long] = [splitOf([4, 4, 4, 4]), splitOf([50, 4])];
  assert.deepEqual(capacityOf(rows, train, long), { tokens: 54, positions: 52, shardTokens: 50 });
  const without = { tokens: 16, positions: 12, shardTokens: 8 };
  assert.deepEqual(capacityOf(rows, train), without);
  assert.deepEqual(capacityOf(rows, { ...train, evalEverySteps: null }, long), without);
});
