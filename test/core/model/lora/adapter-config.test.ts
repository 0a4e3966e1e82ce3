import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { LORA_DEFAULTS } from "../../../../core/config/lora.js";
import { FAMILIES, modelOf } from "../../../../core/model/families.js";
import type { Model } from "../../../../core/model/family.js";
import { planAdapter } from "../../../../core/model/lora/adapter.js";
import { adapterConfigText, parseAdapterConfig } from "../../../../core/model/lora/adapter-config.js";
import { UserError } from "../../../../core/errors.js";
import { REFERENCE } from "../reference.js";

interface Case {
  readonly name: string;
  readonly model: string;
  readonly settings: Readonly<Record<string, unknown>>;
  /** rank, alpha, scale; absent: PEFT refuses */
  readonly modules?: Readonly<Record<string, readonly [number, number, number]>>;
}

/** What PEFT makes of settings: test/reference/lora_targets.py. */
const { models, cases } = JSON.parse(readFileSync(join(REFERENCE, "lora-targets.json"), "utf8")) as {
  readonly models: Readonly<Record<string, { readonly model_type: string }>>;
  readonly cases: readonly Case[];
};

const known = cases.filter(({ model }) => FAMILIES.some(({ type }) => type === models[model]!.model_type));
const PEFT_DEFAULTS = { peft_type: "LORA", r: 8, lora_alpha: 8 };

/** Wide enough that no rank of the table is above a width: PEFT gives such adapters, and Roslin refuses them. */
const WIDER = { gptj: { n_embd: 64, n_inner: 128 }, others: { hidden_size: 128, intermediate_size: 128, head_dim: 64 } };

const modelNamed = (name: string): Model => modelOf({ ...models[name], ...WIDER[name === "gptj" ? name : "others"] }, name);

/** Whether every layer of the model has the same adapters, and nothing else has one: what Roslin trains. */
function isEven({ parameters }: Model, modules: NonNullable<Case["modules"]>): boolean {
  const ofLayers = parameters.blocks.map((specs) =>
    specs.map(({ name }) => modules[name.replace(/\.weight$/, "")] ?? null).map((adapter) => JSON.stringify(adapter)),
  );
  const found = ofLayers.flat().filter((adapter) => adapter !== "null").length;
  return found === Object.keys(modules).length && ofLayers.every((layer) => layer.join() === ofLayers[0]!.join());
}

function found(model: Model, settings: object): Record<string, readonly number[]> | null {
  try {
    const adapters = parseAdapterConfig(JSON.stringify({ ...PEFT_DEFAULTS, ...settings }), "adapter_config.json").modulesIn(model);
    return Object.fromEntries(adapters.map(({ module, rank, alpha, scale }) => [module, [rank, alpha, scale]]));
  } catch (error) {
    assert.ok(error instanceof UserError, String(error));
    return null;
  }
}

test("an adapter's config gives a model PEFT's modules, ranks, alphas and scales, or is refused where Roslin has no such adapters", () => {
  assert.ok(known.length > 25);
  let read = 0;
  // what a family's own targets are is resolved before PEFT saves an adapter
  for (const { name, model, settings, modules } of known.filter((each) => "target_modules" in each.settings)) {
    const on = modelNamed(model);
    const refused =
      modules === undefined || !isEven(on, modules) || "modules_to_save" in settings || Number(settings["lora_alpha"] ?? 1) <= 0;
    const expected = refused ? null : modules;
    if (expected !== null) read++;
    assert.deepEqual(found(on, settings), expected, `${name}, ${model}`);
  }
  assert.ok(read > 4, String(read));
});

test("the config that Roslin writes gives the same adapters again, by short names where these are of no other layer", () => {
  for (const { name, model, settings, modules } of known) {
    const on = modelNamed(model);
    if (modules === undefined || !isEven(on, modules) || found(on, settings) === null) continue;
    const adapters = parseAdapterConfig(JSON.stringify({ ...PEFT_DEFAULTS, ...settings }), "").modulesIn(on);
    const text = adapterConfigText(on, adapters, { dropout: 0.5, base: { name: "org/base", revision: "v1" } });
    const again = parseAdapterConfig(text, "written");
    assert.deepEqual(again.modulesIn(on), adapters, name);
    assert.deepEqual(again.base, { name: "org/base", revision: "v1" });
  }
  const model = modelNamed("gptj");
  const lora = { ...LORA_DEFAULTS, rank: 2, targets: ["q_proj", "v_proj"], rankPattern: { v_proj: 1 }, rsLora: true };
  const written = JSON.parse(
    adapterConfigText(model, planAdapter(model, lora), { dropout: 0, base: { name: null, revision: null } }),
  ) as Record<string, unknown>;
  assert.deepEqual(
    ["target_modules", "r", "rank_pattern", "alpha_pattern", "use_rslora"].map((field) => written[field]),
    [["q_proj", "v_proj"], 2, { v_proj: 1 }, {}, true],
  );
});

test("what Roslin does not do is refused by its name", () => {
  const read = (fields: object): unknown =>
    parseAdapterConfig(JSON.stringify({ ...PEFT_DEFAULTS, target_modules: ["q_proj"], ...fields }), "a.json").modulesIn(modelNamed("gptj"));
  assert.ok(
    read({ task_type: "CAUSAL_LM", bias: "none", modules_to_save: null, use_dora: false, loftq_config: {}, peft_version: "0.21.2" }),
  );
  assert.ok(
    read({ layers_to_transform: Array.from({ length: 12 }, (_, layer) => layer), lora_dropout: 0.1, init_lora_weights: "gaussian" }),
  );
  for (const fields of [
    { peft_type: "IA3" },
    { task_type: "SEQ_CLS" },
    { bias: "all" },
    { use_dora: true },
    { lora_bias: true },
    { fan_in_fan_out: true },
    { modules_to_save: ["lm_head"] },
    { layers_to_transform: [0, 1] },
    { layer_replication: [[0, 4]] },
    { trainable_token_indices: [3] },
    { target_parameters: ["mlp"] },
    { alora_invocation_tokens: [1] },
    { init_lora_weights: "pissa" },
    { a_field_of_the_future: 3 },
    { r: 0 },
    { r: "8" },
    { lora_alpha: null },
    { target_modules: null },
  ])
    assert.throws(
      () => read(fields),
      (error) =>
        error instanceof UserError && error.message.includes(`${Object.keys(fields)[0]!} [file=a.json`) && /got=/.test(error.message),
      JSON.stringify(fields),
    );
  assert.throws(
    () => read({ target_modules: ["lm_head", "q_proj"] }),
    /^UserError: target_modules of a\.json takes a layer outside the blocks/,
  );
  assert.throws(
    () => read({ target_modules: ["query"] }),
    /^UserError: a target in target_modules of a\.json matches no linear layer .*got=\["query"\]/,
  );
  assert.throws(() => parseAdapterConfig("[", "a.json"), /an adapter's config is not JSON \[file=a\.json\]/);
  assert.throws(() => parseAdapterConfig("[]", "a.json"), /this adapter is not one that Roslin reads: its config/);
});

test("a run's own targets are checked one by one", () => {
  const model = modelNamed("gptj");
  const plan = (lora: object): unknown => planAdapter(model, { ...LORA_DEFAULTS, ...lora });
  assert.throws(() => plan({ targets: ["q_proj", "query"] }), /a target in train\.lora\.targets matches no linear layer.*got=query/);
  assert.throws(
    () => plan({ rank: 65, targets: ["q_proj"] }),
    /lower train\.lora\.rank \[layer=transformer\.h\.0\.attn\.q_proj, expected=at most 64, got=65\]/,
  );
  assert.throws(() => plan({ rank: 1, targets: ["1.attn.q_proj"] }), /different adapters by train\.lora\.targets/);
  assert.throws(() => plan({ rank: 1, targets: "(q" }), /train\.lora\.targets is not a regular expression \[got=\(q\]/);
});
