import assert from "node:assert/strict";
import { test } from "node:test";
import { lossTokens, nextScored } from "../../../core/rows/labels.js";
import { IGNORED } from "../../../core/rows/token-rows.js";

/** Indexes of the scored tokens. */
function scored(labels: readonly number[]): number[] {
  const found: number[] = [];
  for (let at = nextScored(labels, 0); at < labels.length; at = nextScored(labels, at + 1)) found.push(at);
  return found;
}

test("every token with a label is scored but the first, which no token before it predicts", () => {
  for (const [labels, expected] of [
    [[], []],
    [[5], []],
    [[5, 6], [1]],
    [
      [5, IGNORED, 7, 8, IGNORED],
      [2, 3],
    ],
    [[IGNORED, IGNORED], []],
    [
      [IGNORED, 0, 1],
      [1, 2],
    ],
  ] as const) {
    assert.deepEqual(scored(labels), expected);
    assert.equal(lossTokens(Int32Array.from(labels)), expected.length);
  }
});
