import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { UserError } from "../../../core/errors.js";
import { FAMILIES, modelOf, parseModelConfig } from "../../../core/model/families.js";
import { allParameters, parameterCount } from "../../../core/model/family.js";
import { CONFIG } from "./toy/made.js";
import { toy } from "./toy/toy.js";

const ROOT = join(import.meta.dirname, "../../../..");
const ROOMS = ["core", "engines", "workflows", "activities", "workers", "infra", "cli", "demo", "bench", "bin"];

/** Words that tell of one family alone, by its folder, and the lines of the families' table that may have them. */
const TOLD: Readonly<Record<string, { readonly words: RegExp; readonly lines: number }>> = {
  gptj: { words: /gptj|transformer\.h\.|\bwte\b|lm_head|\bln_f\b/i, lines: 3 },
  llama: { words: /llama\/llama|mistral, |\b(gate|up|down)_proj\b|rms_norm_eps|post_attention_layernorm/, lines: 2 },
  "gpt-neox": { words: /gpt[-_]neox|gptNeox|\bembed_(in|out)\b|query_key_value|\bdense_(h|4h)_to/, lines: 2 },
};

test("what is said of one family stands in its folder", () => {
  const own = Object.keys(TOLD).map((folder) => `core/model/${folder}/`);
  const files = ROOMS.flatMap((room) =>
    readdirSync(join(ROOT, room), { recursive: true, encoding: "utf8" }).map((path) => `${room}/${path}`),
  ).filter((path) => /\.(ts|js|py)$/.test(path));
  const shared = files.filter((path) => !own.some((folder) => path.startsWith(folder)));
  assert.ok(shared.length > 150, `${shared.length} files`);
  const text = (path: string): string => readFileSync(join(ROOT, path), "utf8");
  const table = text("core/model/families.ts").split("\n");
  for (const [folder, { words, lines }] of Object.entries(TOLD)) {
    assert.deepEqual(
      shared.filter((path) => words.test(text(path))),
      ["core/model/families.ts"],
      folder,
    );
    assert.equal(table.filter((line) => words.test(line)).length, lines, `${folder}: its import, and where it stands in the table`);
  }
  for (const folder of own) {
    const others = own.filter((other) => other !== folder).map((other) => other.replace("core/model/", "../"));
    const taken = files.filter((path) => path.startsWith(folder) && others.some((other) => text(path).includes(`"${other}`)));
    assert.deepEqual(taken, [], "a family takes nothing from another one");
  }
});

test("a config.json finds its family by model_type", () => {
  const families = [...FAMILIES, toy];
  const { family, shape, parameters } = modelOf(CONFIG, "test", families);
  assert.deepEqual([family.name, shape.layers, shape.type], ["Toy", 2, "toy"]);
  assert.equal(allParameters(parameters).length, 1 + 2 * 8 + 1 + 1);
  assert.equal(parameterCount({ parameters }), 2 * 13 * 8 + 8 + 2 * (2 * 8 + 4 * 64 + 2 * 96));
  const refused = (json: unknown, message: RegExp): void =>
    assert.throws(
      () => parseModelConfig(JSON.stringify(json), "test", families),
      (error) => error instanceof UserError && message.test(error.message),
    );
  const types = families.map(({ type }) => type).join(" or ");
  refused({ model_type: "mamba" }, new RegExp(`model_type \\[file=test, expected=${types}, got="mamba"\\]`));
  refused({}, new RegExp(`model_type .*expected=${types}`));
  refused(null, /must be a JSON object/);
  refused({ ...CONFIG, layers: "2" }, /a toy needs layers/);
  assert.throws(() => parseModelConfig("{", "test"), /config\.json is not JSON \[file=test\]/);
});

test("a made-up model of each family has the size that was asked for", () => {
  const size = { layers: 3, heads: 2, width: 16, rotary: 4, vocabulary: 31, positions: 12, bosTokenId: 1, eosTokenId: 2 };
  for (const family of FAMILIES) {
    const { shape, parameters } = modelOf(family.configJson(size), family.type);
    const { rotary: _, eosTokenId, ...common } = size;
    assert.deepEqual(shape.eosTokenIds, [eosTokenId]);
    for (const [name, value] of Object.entries(common)) assert.equal(shape[name as keyof typeof common], value, `${family.type}: ${name}`);
    const inputs = parameters.blocks.map((specs) => specs.map(({ input, shape: sizes }) => `${input} ${sizes.join()}`));
    assert.deepEqual(inputs[2], inputs[0], "every layer takes the same");
  }
});
