import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { planAdapter, withAdapter } from "../../../../core/model/lora/adapter.js";
import { createSession } from "../../../../engines/onnx/session/session.js";
import type { Sessions } from "../../../../engines/onnx/sessions.js";
import { openSessions } from "../../../../engines/onnx/step/workplace.js";
import { assertClose, assertSameTensors, readTensors, reference } from "../../../core/model/reference.js";
import { CASES, loraReference } from "../../../core/model/lora/reference.js";
import { gradientsOf, solo } from "./solo.js";

for (const name of readdirSync(CASES))
  describe(`adapters against PEFT: ${name}`, () => {
    const { directory, expected, settings } = loraReference(name);
    const { model: base, rows, weights } = reference(expected.base);
    const model = withAdapter(base, planAdapter(base, settings), { typeOf: () => null, dropout: false });
    const halved = expected.dtype === "float32" ? weights : readTensors(join(directory, "base", "model.safetensors"));
    const all = new Map([...halved, ...readTensors(join(directory, "initial", "adapter_model.safetensors"))]);
    let sessions: Sessions;
    before(async () => {
      sessions = await openSessions(model.family.training(model.shape, model.parameters), createSession);
    });
    after(() => Promise.all(Object.values(sessions).map((session) => session.close())));

    it("gives the same layers adapters of the same rank and scale", () => {
      const modules = model.adapters!.map(({ module, rank, alpha, scale }) => [module, { r: rank, alpha, scaling: scale }]);
      assert.deepEqual(Object.fromEntries(modules), expected.modules);
    });

    it("gives the loss and every gradient", async () => {
      const { loss, gradients } = await gradientsOf(model, sessions, all, rows);
      assertClose([loss], [expected.loss], 1e-6);
      assertSameTensors(gradients, readTensors(join(directory, "expected-gradients.safetensors")), 1e-5);
    });

    it("gives the losses, norms and adapters of 20 AdamW steps", async () => {
      const { step, whole, totalSteps } = solo(model, sessions, all, rows, expected.train);
      const outcomes = [];
      while (outcomes.length < totalSteps) outcomes.push(await step());
      const losses = outcomes.map(({ loss }) => loss);
      assertClose(losses, expected.training_losses, 1e-5);
      const norms = outcomes.map(({ norm }) => norm);
      assertClose(norms, expected.gradient_norms_before_clipping, 1e-5);
      assertSameTensors(whole("weight"), readTensors(join(directory, "final", "adapter_model.safetensors")), 1e-4);
    });
  });
