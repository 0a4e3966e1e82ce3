import assert from "node:assert/strict";
import { test } from "node:test";
import { addTo, allFinite, sumOfSquares, sumRounded } from "../../../../engines/onnx/step/sums.js";

const random = (seed: number) => () => ((seed = (seed * 1103515245 + 12345) % 2 ** 31) / 2 ** 31) * 2 - 1;

for (const count of [1, 3, 8, 11])
  test(`the sum of ${count} gradients is the float64 sum in their order, rounded once`, () => {
    const next = random(count);
    const sources = Array.from({ length: count }, () => Float32Array.from({ length: 5001 }, next));
    const target = new Float32Array(5001);
    sumRounded(target, sources);
    for (let i = 0; i < target.length; i += 97) assert.equal(target[i], Math.fround(sources.reduce((sum, source) => sum + source[i]!, 0)));
    const total = new Float64Array(5001);
    addTo(total, sources.slice(0, 1));
    addTo(total, sources.slice(1));
    assert.deepEqual(Float32Array.from(total), target);
  });

test("squares are summed in float64, and what isn't finite is seen", () => {
  assert.equal(sumOfSquares(Float32Array.of(1e30, 3, 4)), Math.fround(1e30) ** 2 + 25);
  assert.ok(allFinite(Float32Array.of(1, -2, 0)));
  for (const bad of [NaN, Infinity, -Infinity]) assert.ok(!allFinite(Float32Array.of(1, bad)));
});
