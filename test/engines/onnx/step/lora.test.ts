import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { LORA_DEFAULTS, type LoraSettings } from "../../../../core/config/lora.js";
import { planAdapter, withAdapter } from "../../../../core/model/lora/adapter.js";
import { createSession } from "../../../../engines/onnx/session/session.js";
import type { Sessions } from "../../../../engines/onnx/sessions.js";
import { openSessions } from "../../../../engines/onnx/step/workplace.js";
import { assertClose, assertSameTensors, readTensors, reference, REFERENCE } from "../../../core/model/reference.js";
import { gradientsOf, solo } from "./solo.js";

const CASES = join(REFERENCE, "lora");

/** PEFT's figures for adapters on a small base, and its settings. */
interface Expected {
  readonly base: string;
  readonly dtype: string;
  readonly lora: {
    readonly r: number;
    readonly lora_alpha: number;
    readonly target_modules: string | string[];
    readonly use_rslora?: boolean;
    readonly rank_pattern?: Record<string, number>;
    readonly alpha_pattern?: Record<string, number>;
  };
  readonly train: object;
  readonly loss: number;
  readonly training_losses: readonly number[];
  readonly gradient_norms_before_clipping: readonly number[];
  readonly modules: Readonly<Record<string, { readonly r: number; readonly alpha: number; readonly scaling: number }>>;
}

for (const name of readdirSync(CASES))
  describe(`adapters against PEFT: ${name}`, () => {
    const directory = join(CASES, name);
    const expected = JSON.parse(readFileSync(join(directory, "expected.json"), "utf8")) as Expected;
    const { r, lora_alpha, target_modules, use_rslora, rank_pattern, alpha_pattern } = expected.lora;
    const settings: LoraSettings = {
      ...LORA_DEFAULTS,
      rank: r,
      alpha: lora_alpha,
      targets: target_modules,
      rsLora: use_rslora ?? false,
      rankPattern: rank_pattern ?? {},
      alphaPattern: alpha_pattern ?? {},
    };
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
