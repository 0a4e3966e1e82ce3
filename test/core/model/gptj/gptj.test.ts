import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Sessions } from "../../../../engines/onnx/sessions.js";
import { openSessions } from "../../../../engines/onnx/step/workplace.js";
import { createSession } from "../../../../engines/onnx/session/session.js";
import { gradientsOf, solo } from "../../../engines/onnx/step/solo.js";
import { trainingLogits } from "./logits.js";
import { assertClose, assertSameTensors, reference, REFERENCES, worstShare } from "./reference.js";

for (const name of REFERENCES)
  describe(`GPT-J against PyTorch: ${name}`, () => {
    const { model, config, rows, weights, expected, tensors, train } = reference(name);
    let sessions: Sessions;
    before(async () => {
      sessions = await openSessions(model.family.training(model.shape, model.parameters), createSession);
    });
    after(() => Promise.all(Object.values(sessions).map((session) => session.close())));

    it("gives the logits of every token in a padded batch", async () => {
      const padded = tensors("expected-logits.safetensors").get("logits")!;
      const length = expected.input_ids[0]!.length;
      const real = rows.flatMap((row, r) => [...row.inputIds.keys()].map((at) => r * length + at));
      const V = config.vocabulary;
      const logits = Float32Array.from(real.flatMap((at) => [...padded.subarray(at * V, (at + 1) * V)]));
      assert.ok(worstShare(await trainingLogits(sessions, model, weights, rows), logits) < 1e-5);
    });

    it("gives the loss of the padded batch and every gradient", async () => {
      const { loss, gradients } = await gradientsOf(model, sessions, weights, rows);
      assertClose([loss], [expected.loss], 1e-6);
      assertSameTensors(gradients, tensors("expected-gradients.safetensors"), 1e-5);
    });

    it("gives the losses, norms and weights of 20 AdamW steps", async () => {
      const { step, whole, totalSteps } = solo(model, sessions, weights, rows, train);
      const outcomes = [];
      while (outcomes.length < totalSteps) outcomes.push(await step());
      assertClose(
        outcomes.map(({ loss }) => loss),
        expected.training_losses,
        1e-5,
      );
      assertClose(
        outcomes.map(({ norm }) => norm),
        expected.gradient_norms_before_clipping,
        1e-5,
      );
      assertSameTensors(whole("weight"), tensors("expected-after-20-steps.safetensors"), 6e-5);
    });
  });
