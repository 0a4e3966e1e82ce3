import assert from "node:assert/strict";
import { test } from "node:test";
import { fillDropout } from "../../../../core/model/lora/dropout.js";

// Python draws the same: test/engines/deepspeed/python/test_rank.py
for (const [share, place, source, first] of [
  [0.1, { seed: 42, step: 3, layer: 1, module: 5 }, 17, [5, 16, 22, 38, 66]],
  [0.37, { seed: 2 ** 40 + 5, step: 1_000_000, layer: 31, module: 6 }, 2 ** 32 - 1, [0, 5, 6, 8, 9]],
  [0.5, { seed: 0, step: 0, layer: 0, module: 0 }, 0, [0, 2, 5, 11, 12]],
] as const)
  test(`an element's fate is drawn by its place: a share of ${share} is dropped`, () => {
    const drop = new Float32Array(150_000);
    const row = { source, inputIds: new Int32Array(50_000), labels: new Int32Array(50_000) };
    fillDropout(drop, 3, share, [row], place);
    const dropped = [...drop.keys()].filter((index) => drop[index] === 0);
    assert.deepEqual(dropped.slice(0, 5), first);
    assert.ok(Math.abs(dropped.length / drop.length - share) < 0.005);
    assert.deepEqual(new Set(drop), new Set([0, Math.fround(1 / (1 - share))]));
  });
