import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { LoraSettings } from "../../../../core/config/lora.js";
import { loraOf, parseRunConfig } from "../../../../core/config/schema.js";
import { UserError } from "../../../../core/errors.js";
import { modelOf } from "../../../../core/model/families.js";
import type { AdapterModule } from "../../../../core/model/family.js";
import { takesModule } from "../../../../core/model/lora/targets.js";
import { planAdapter } from "../../../../core/model/lora/adapter.js";
import { REFERENCE } from "../reference.js";

/** What PEFT gives a model's modules by its settings: test/reference/lora_targets.py. */
interface Table {
  readonly models: Readonly<Record<string, unknown>>;
  readonly cases: readonly Case[];
}

interface Case {
  readonly name: string;
  readonly model: string;
  readonly settings: Readonly<Record<string, never>>;
  /** [rank, alpha, scaling] by module */
  readonly modules?: Readonly<Record<string, readonly [number, number, number]>>;
  readonly error?: string;
}

/** PEFT's settings by Roslin's names. */
const FIELDS: Readonly<Record<string, keyof LoraSettings>> = {
  target_modules: "targets",
  exclude_modules: "exclude",
  r: "rank",
  lora_alpha: "alpha",
  rank_pattern: "rankPattern",
  alpha_pattern: "alphaPattern",
  use_rslora: "rsLora",
};

/** What Roslin refuses though PEFT takes it. */
const REFUSED =
  /different adapters|outside the blocks|matches no linear layer|not a regular expression|above its layer's width|train\.lora\.alpha/;

const { models, cases } = JSON.parse(readFileSync(join(REFERENCE, "lora-targets.json"), "utf8")) as Table;
const known = cases.filter(({ settings }) => "target_modules" in settings && Object.keys(settings).every((field) => field in FIELDS));

describe("adapters lie where PEFT puts them", () => {
  let same = 0;
  for (const { name, model, settings, modules, error } of known)
    it(`${name}: ${model}`, () => {
      const named = Object.entries(settings).map(([field, value]) => [FIELDS[field], value]);
      // PEFT's own defaults
      const lora = { rank: 8, alpha: 8, ...(Object.fromEntries(named) as object) };
      const plan = (): AdapterModule[] =>
        planAdapter(modelOf(models[model], name), loraOf(parseRunConfig({ train: { method: "lora", lora } }).train)!);
      if (error !== undefined) return assert.throws(plan, UserError);
      let adapters;
      try {
        adapters = plan();
      } catch (refusal) {
        return assert.match((refusal as Error).message, REFUSED);
      }
      same++;
      const got = Object.fromEntries(adapters.map((adapter) => [adapter.module, [adapter.rank, adapter.alpha, adapter.scale]]));
      return assert.deepEqual(got, modules);
    });
  it("and most of the settings are not refused", () => assert.ok(same >= 20, `${same} of ${known.length}`));
});

it("an expression that repeats groups, or repeats often, is refused before it is tried", () => {
  for (const expression of ["(layers\\.)+q_proj", "(q|k){2,}_proj", ".*a.*b.*c.*d.*e", `${"x?".repeat(11)}q_proj`])
    assert.throws(() => takesModule(expression, "q_proj", "target_modules"), /target_modules has an expression that may take too long/);
  for (const expression of [".*\\.layers\\.\\d+\\.(mlp\\.)?(up|down)_proj", "(?!.*head).*_proj", "[+*)]*q_proj", ".*\\)+q_proj"])
    takesModule(expression, "model.layers.0.mlp.up_proj", "target_modules");
  assert.equal(takesModule(".*\\.layers\\.\\d+\\.(mlp\\.)?(up|down)_proj", "model.layers.0.mlp.up_proj", ""), true);
});
