import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { adamwStep } from "../../../core/model/adamw.js";
import { reference, worstShare } from "./reference.js";
import { closeSessions, computeStep, openSessions, type Sessions, type Weights } from "./trainer.js";

/** Bound on every difference from PyTorch, as a share of the tensor's largest value. */
const TOLERANCE = 1e-4;

/** Four heads of 16, half of each rotated; three heads of 12, wholly rotated, and an inner width and epsilon of their own; one head of 20. */
for (const name of ["gptj-tiny", "gptj-odd", "gptj-one-head"])
  describe(`GPT-J against PyTorch: ${name}`, () => {
    const { config, rows, weights, expected, tensors } = reference(name);
    let sessions: Sessions;
    before(async () => {
      sessions = await openSessions(config);
    });
    after(() => closeSessions(sessions));

    it("gives the same logits where there is loss, the same loss and every gradient", async () => {
      const step = await computeStep(sessions, config, weights, rows);
      assert.ok(Math.abs(step.loss - expected.loss) < TOLERANCE * expected.loss, `loss ${step.loss}`);
      const all = tensors("expected-logits.safetensors").get("logits")!;
      const padded = expected.input_ids[0]!.length;
      const lossAt = rows.flatMap((row, r) =>
        [...row.labels.keys()].filter((at) => at > 0 && row.labels[at] !== -100).map((at) => r * padded + at - 1),
      );
      const picked = Float32Array.from(lossAt.flatMap((at) => [...all.subarray(at * config.vocabulary, (at + 1) * config.vocabulary)]));
      assert.ok(worstShare(step.logits, picked) < TOLERANCE);
      for (const [name, gradient] of tensors("expected-gradients.safetensors"))
        assert.ok(worstShare(step.gradients.get(name)!, gradient) < TOLERANCE, name);
    });

    it("gives the same losses, norms and weights over 20 AdamW steps", async () => {
      const trained: Weights = new Map([...weights].map(([name, values]) => [name, values.slice()]));
      const moments = new Map(
        [...weights].map(([name, values]) => [name, { m: new Float32Array(values.length), v: new Float32Array(values.length) }]),
      );
      for (const [index, loss] of expected.training_losses.entries()) {
        const step = await computeStep(sessions, config, trained, rows);
        assert.ok(Math.abs(step.loss - loss) < TOLERANCE * loss, `step ${index}: loss ${step.loss}, expected ${loss}`);
        const norm = Math.sqrt(
          [...step.gradients.values()].reduce((sum, gradient) => gradient.reduce((part, value) => part + value * value, sum), 0),
        );
        const expectedNorm = expected.gradient_norms_before_clipping[index]!;
        assert.ok(Math.abs(norm - expectedNorm) < TOLERANCE * expectedNorm, `step ${index}: norm ${norm}, expected ${expectedNorm}`);
        const gradScale = Math.min(1, 1 / (norm + 1e-6));
        for (const [name, values] of trained) {
          const { m, v } = moments.get(name)!;
          const settings = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, step: index + 1, gradScale };
          adamwStep(values, m, v, step.gradients.get(name)!, settings);
        }
      }
      for (const [name, values] of tensors("expected-after-20-steps.safetensors"))
        assert.ok(worstShare(trained.get(name)!, values) < TOLERANCE, name);
    });

    it("gives the same with the head cut into three slices of the vocabulary", async () => {
      const whole = await computeStep(sessions, config, weights, rows, 1);
      const cut = await computeStep(sessions, config, weights, rows, 3);
      assert.ok(Math.abs(whole.loss - cut.loss) < 1e-6);
      for (const [name, gradient] of whole.gradients) assert.ok(worstShare(cut.gradients.get(name)!, gradient) < 1e-6, name);
    });

    it("gives the same for rows end to end as one by one", async () => {
      const together = await computeStep(sessions, config, weights, rows);
      const count = (labels: Int32Array): number => labels.subarray(1).filter((label) => label !== -100).length;
      const total = rows.reduce((sum, row) => sum + count(row.labels), 0);
      const sums = new Map([...weights].map(([name, values]) => [name, new Float32Array(values.length)]));
      let loss = 0;
      for (const row of rows.filter(({ labels }) => count(labels) > 0)) {
        const alone = await computeStep(sessions, config, weights, [row]);
        const share = count(row.labels) / total;
        loss += alone.loss * share;
        for (const [name, gradient] of alone.gradients) gradient.forEach((value, index) => (sums.get(name)![index]! += value * share));
      }
      assert.ok(Math.abs(loss - together.loss) < 1e-6 * loss);
      for (const [name, gradient] of together.gradients) assert.ok(worstShare(sums.get(name)!, gradient) < 1e-5, name);
    });
  });
