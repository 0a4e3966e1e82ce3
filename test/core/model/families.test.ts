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

/** What is said of each family, by its folder; where else it may stand: in tables; and its lines in the table of families. */
const TABLE = "core/model/families.ts";
const TOLD = [
  // the bench of the real 6B shape writes what the hub has of that model; provenance tells published models by their names
  {
    folder: "gptj",
    told: /gptj|transformer\.h\.|\bwte\b|\bln_f\b/i,
    tables: [TABLE, "bench/gptj-files.ts", "bench/six-billion.ts"],
    lines: 3,
  },
  {
    folder: "gpt-neox",
    told: /gpt[-_]?neox\b|query_key_value|embed_(in|out)\b/i,
    tables: [TABLE, "activities/report/provenance.ts"],
    lines: 2,
  },
  // GGUF's formats and classes of tokenizers have its name too
  { folder: "llama", told: /\bmodel\.layers\.|embed_tokens|self_attn|\/llama\//, tables: [TABLE, "core/model/gguf.ts"], lines: 1 },
];

test("what is said of one family stands in its folder", () => {
  const files = ROOMS.flatMap((room) =>
    readdirSync(join(ROOT, room), { recursive: true, encoding: "utf8" }).map((path) => `${room}/${path}`),
  ).filter((path) => /\.(ts|js|py)$/.test(path));
  const texts = new Map(files.map((path) => [path, readFileSync(join(ROOT, path), "utf8")]));
  assert.ok(files.length > 150, `${files.length} files`);
  const telling = (told: RegExp, folders: readonly string[]): string[] =>
    files.filter((path) => told.test(texts.get(path)!) && !folders.some((folder) => path.startsWith(`core/model/${folder}/`)));
  const table = texts.get(TABLE)!.split("\n");
  for (const { folder, told, tables, lines } of TOLD) {
    assert.deepEqual(telling(told, [folder]), tables);
    assert.equal(table.filter((line) => told.test(line)).length, lines, folder);
  }
  // several families call their heads so
  const folders = TOLD.map(({ folder }) => folder);
  assert.deepEqual(telling(/lm_head/i, folders), []);
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
  const known = families.map(({ type }) => type).join(" or ");
  refused({ model_type: "mixtral" }, new RegExp(`model_type \\[file=test, expected=${known}, got="mixtral"\\]`));
  refused({}, new RegExp(`model_type .*expected=${known}`));
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
