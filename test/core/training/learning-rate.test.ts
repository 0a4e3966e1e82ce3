import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { learningRateAt } from "../../../core/training/learning-rate.js";

const rates = (schedule: "constant" | "linear" | "cosine", warmupSteps: number, total: number): number[] =>
  Array.from({ length: total }, (_, step) => Number(learningRateAt({ learningRate: 1, schedule, warmupSteps }, step, total).toFixed(4)));

describe("learningRateAt", () => {
  it("is constant, Dolly's default", () => assert.deepEqual(rates("constant", 0, 3), [1, 1, 1]));
  it("warms up from zero", () => assert.deepEqual(rates("constant", 4, 6), [0, 0.25, 0.5, 0.75, 1, 1]));
  it("falls to zero in a line after the warm-up", () => assert.deepEqual(rates("linear", 2, 6), [0, 0.5, 1, 0.75, 0.5, 0.25]));
  it("falls along half a cosine after the warm-up", () => assert.deepEqual(rates("cosine", 2, 6), [0, 0.5, 1, 0.8536, 0.5, 0.1464]));
  it("stays finite when the run is all warm-up", () => assert.deepEqual(rates("linear", 5, 3), [0, 0.2, 0.4]));
});
