import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { adamwStep } from "../../../engines/onnx/adamw.js";

const settings = { learningRate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, step: 1, gradScale: 1 };

describe("adamwStep", () => {
  it("moves each weight by the learning rate in the first step, against its gradient", () => {
    const w = Float32Array.of(1, 1, 1);
    adamwStep(w, new Float32Array(3), new Float32Array(3), Float32Array.of(5, -0.1, 0), settings);
    [0.9, 1.1, 1].forEach((expected, index) => assert.ok(Math.abs(w[index]! - expected) < 1e-6, `${w[index]}`));
  });

  it("decays weights apart from the gradient", () => {
    const w = Float32Array.of(2);
    adamwStep(w, new Float32Array(1), new Float32Array(1), Float32Array.of(0), { ...settings, weightDecay: 0.5 });
    assert.equal(w[0], Math.fround(1.9));
  });

  it("keeps moments of the scaled gradient", () => {
    const m = Float32Array.of(1);
    const v = Float32Array.of(2);
    adamwStep(new Float32Array(1), m, v, Float32Array.of(10), { ...settings, gradScale: 0.3 });
    assert.equal(m[0], Math.fround(1 + (3 - 1) * (1 - 0.9)));
    assert.equal(v[0], Math.fround(2 * 0.999 + 9 * (1 - 0.999)));
  });

  it("gives the same bits for a tensor in slices as in one piece", () => {
    const make = (salt: number): Float32Array => Float32Array.from({ length: 100 }, (_, index) => Math.sin(index * salt));
    const whole = [make(1), make(2), make(3).map(Math.abs), make(4)] as const;
    const cut = whole.map((tensor) => tensor.slice()) as unknown as typeof whole;
    adamwStep(...whole, { ...settings, step: 7, weightDecay: 0.01 });
    for (const part of [cut.map((tensor) => tensor.subarray(0, 33)), cut.map((tensor) => tensor.subarray(33))])
      adamwStep(...(part as unknown as typeof whole), { ...settings, step: 7, weightDecay: 0.01 });
    assert.deepEqual(cut, whole);
  });
});
