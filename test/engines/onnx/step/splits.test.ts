import assert from "node:assert/strict";
import { test } from "node:test";
import type { TokenRow } from "../../../../core/rows/token-rows.js";
import type { GptjShape } from "../../../../core/model/gptj/config.js";
import { generator, madeRow, openModel } from "../../../core/model/gptj/made.js";
import { assertClose, assertSameTensors, worstShare } from "../../../core/model/reference.js";
import { gradientsOf, solo } from "./solo.js";

/** Any split of a step's rows into shards, micro-batches and accumulation is the same step. */

/** More and fewer words and entries of a bias than there are shards. */
const MODELS = [
  await openModel({ n_layer: 2, n_head: 2, n_embd: 12, rotary_dim: 4, n_inner: 10, vocab_size: 19 }, 1),
  await openModel({ n_layer: 1, n_head: 1, n_embd: 4, rotary_dim: 2, n_inner: 3, vocab_size: 5 }, 1),
];

/** Rows of 1 to 9 tokens, half of them of one or two; a quarter of all carry no loss. */
function madeRows(count: number, config: GptjShape, next: () => number): TokenRow[] {
  return Array.from({ length: count }, (_, source) => {
    const length = 1 + Math.floor(next() * (next() < 0.5 ? 2 : 9));
    return madeRow(source, length, next() < 0.25 ? length : Math.floor(next() * length), config.vocabulary, next);
  });
}

/** shards x microBatch x accumulation = rows a step, at most eight shards. */
function randomSplit(perStep: number, next: () => number): { shards: number; microBatch: number; accumulation: number } {
  const divisorOf = (n: number, limit: number): number => {
    const divisors = Array.from({ length: Math.min(n, limit) }, (_, index) => index + 1).filter((divisor) => n % divisor === 0);
    return divisors[Math.floor(next() * divisors.length)]!;
  };
  const shards = divisorOf(perStep, 8);
  const microBatch = divisorOf(perStep / shards, perStep);
  return { shards, microBatch, accumulation: perStep / shards / microBatch };
}

for (const [index, { model, config, weights, sessions }] of MODELS.entries())
  test(`40 random splits, ${config.vocabulary} words: losses, norms, gradients and weights are those of one shard and one micro-batch`, async () => {
    const next = generator(100 + index);
    for (let round = 0; round < 40; round++) {
      const perStep = [6, 8, 12, 16, 18, 24][Math.floor(next() * 6)]!;
      const rows = madeRows(1 + Math.floor(next() * 2 * perStep), config, next);
      const split = randomSplit(perStep, next);
      // where a gradient all but vanishes Adam divides rounding by rounding: a larger epsilon keeps that out of the comparison
      const common = { epochs: 2, learningRate: 1e-2, weightDecay: 0.1, maxGradNorm: 0.5, epsilon: 1e-3 };
      const whole = solo(model, sessions, weights, rows, { ...common, shards: 1, microBatch: perStep });
      const cut = solo(model, sessions, weights, rows, { ...common, ...split });
      const where = `round ${round}: ${rows.length} rows, ${JSON.stringify(split)}`;
      assert.equal(cut.totalSteps, whole.totalSteps, where);
      for (let step = 0; step < whole.totalSteps; step++) {
        const [expected, got] = [await whole.step(), await cut.step()];
        assert.equal(got.updated, expected.updated, where);
        assertClose([got.loss, got.norm], [expected.loss, expected.norm], 1e-5, where);
        if (expected.updated) assertSameTensors(cut.whole("gradient"), whole.whole("gradient"), 1e-5, where);
      }
      assertSameTensors(cut.whole("weight"), whole.whole("weight"), 1e-5, where);
    }
  });

test("rows end to end give the loss and gradients of the padded computation, and the sums of rows one by one", async () => {
  const { model, config, weights, sessions } = MODELS[0]!;
  const next = generator(7);
  for (let round = 0; round < 5; round++) {
    const rows = madeRows(12, config, next);
    const together = await gradientsOf(model, sessions, weights, rows);
    const longest = Math.max(...rows.map((row) => row.inputIds.length));
    const padded = rows.map(({ source, inputIds, labels }): TokenRow => {
      const fill = (values: Int32Array, value: number): Int32Array => Int32Array.from({ length: longest }, (_, at) => values[at] ?? value);
      return { source, inputIds: fill(inputIds, 3), labels: fill(labels, -100) };
    });
    const apart = await gradientsOf(model, sessions, weights, padded);
    assertClose([together.loss, together.norm], [apart.loss, apart.norm], 1e-5);
    assertSameTensors(together.gradients, apart.gradients, 1e-5);

    const labels = (row: TokenRow): number => row.labels.subarray(1).filter((label) => label !== -100).length;
    const total = rows.reduce((sum, row) => sum + labels(row), 0);
    const sums = new Map([...weights].map(([name, values]) => [name, new Float64Array(values.length)]));
    for (const row of rows.filter((row) => labels(row) > 0))
      for (const [name, gradient] of (await gradientsOf(model, sessions, weights, [row])).gradients)
        gradient.forEach((value, index) => (sums.get(name)![index]! += (value * labels(row)) / total));
    for (const [name, sum] of sums) assert.ok(worstShare(together.gradients.get(name)!, Float32Array.from(sum)) < 1e-5, name);
  }
});
