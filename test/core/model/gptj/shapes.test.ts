import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openSessions } from "../../../../engines/onnx/step/workplace.js";
import type { TokenRow } from "../../../../core/rows/token-rows.js";
import type { GptjShape } from "../../../../core/model/gptj/config.js";
import { createSession } from "../../../../engines/onnx/session/session.js";
import { gradientsOf } from "../../../engines/onnx/step/solo.js";
import { generator, madeModel, madeRow } from "./made.js";
import { plainLoss } from "./plain.js";
import { reference } from "../reference.js";

const shapes = [
  { name: "one head, wholly rotated", json: { n_layer: 1, n_head: 1, n_embd: 8, rotary_dim: 8 } },
  { name: "head width 12, rotary_dim 10, three layers", json: { n_layer: 3, n_head: 2, n_embd: 24, rotary_dim: 10 } },
  { name: "rotary_dim = head width, an inner width of its own", json: { n_layer: 2, n_head: 3, n_embd: 18, n_inner: 31, rotary_dim: 6 } },
  { name: "head width 5, odd", json: { n_layer: 1, n_head: 4, n_embd: 20, rotary_dim: 2 } },
  { name: "another epsilon", json: { n_layer: 2, n_head: 2, n_embd: 16, rotary_dim: 4, layer_norm_epsilon: 0.1 } },
];

/** Lengths from one token (no loss at all) upwards; some labels masked, and one row masked wholly. */
function testRows(next: () => number, vocabulary: number): TokenRow[] {
  return [1, 9, 2, 6, 13].map((length, source) => madeRow(source, length, source === 3 ? length : Math.ceil(length / 3), vocabulary, next));
}

describe("every shape agrees with the plain float64 model", () => {
  it("which itself agrees with PyTorch", () => {
    const { model, weights, rows, expected } = reference("gptj-tiny");
    assert.ok(Math.abs(plainLoss(model.shape as GptjShape, weights, rows) - expected.loss) < 1e-6 * expected.loss);
  });

  for (const [index, { name, json }] of shapes.entries()) {
    it(name, async () => {
      const next = generator(index + 1);
      const { model, config, weights } = madeModel(json, next);
      const rows = testRows(next, config.vocabulary);
      const sessions = await openSessions(model.family.training(model.shape, model.parameters), createSession);
      const { loss, gradients } = await gradientsOf(model, sessions, weights, rows, { shards: 2, microBatch: 2, accumulation: 2 });
      for (const session of Object.values(sessions)) await session.close();
      const plain = plainLoss(config, weights, rows);
      assert.ok(Math.abs(loss - plain) < 1e-5 * plain, `loss ${loss}, expected ${plain}`);
      for (const [tensor, values] of weights) {
        const slopes = gradients.get(tensor)!;
        const largest = slopes.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
        assert.ok(largest > 0, `${tensor} has no gradient`);
        // a few elements of each tensor are enough to tell a wrong rule
        for (let at = 0; at < values.length; at += Math.ceil(values.length / 4)) {
          const numeric = slopeOf((value) => plainLoss(config, new Map(weights).set(tensor, values.with(at, value)), rows), values[at]!);
          assert.ok(Math.abs(slopes[at]! - numeric) < 1e-4 * largest, `${tensor}[${at}]: ${slopes[at]}, expected ${numeric}`);
        }
      }
    });
  }
});

/** A central difference in float64, the step as fp32 rounds it. */
function slopeOf(loss: (value: number) => number, at: number): number {
  const [low, high] = [Math.fround(at - 1e-3), Math.fround(at + 1e-3)];
  return (loss(high) - loss(low)) / (high - low);
}
