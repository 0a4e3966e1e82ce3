import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { UserError } from "../../../core/errors.js";
import {
  ADDED_TOKEN,
  COMPONENTS,
  REFUSED_COMPONENTS,
  TOKENIZER_JSON,
  TREATMENTS,
  type Treatment,
} from "../../../core/text/tokenizer-json.js";
import { createTokenizer } from "../../../core/text/tokenizer.js";
import { applied, idLists, type Change } from "./figures.js";

interface Case {
  /** slot, component and field */
  readonly name: string;
  /** two tokenizers that differ in this field alone */
  readonly before: Change;
  readonly after: Change;
  /** the ids that transformers gives, special tokens included; null: it reads no such tokenizer */
  readonly beforeIds: string | null;
  readonly afterIds: string | null;
  /** the field that Roslin's refusal of the second one names */
  readonly says?: string;
}

const { texts, tokenizer, cases } = JSON.parse(
  readFileSync(new URL("../../../../test/reference/tokenizer-fields.json", import.meta.url), "utf8"),
) as { texts: string[]; tokenizer: Record<string, unknown>; cases: Case[] };

function idsOf(change: Change): number[][] {
  const { encode, around } = createTokenizer(applied(tokenizer, change), "t.json");
  return texts.map((text) => [...around.before, ...encode(text), ...around.after]);
}

/** Every field of every component with its treatment, as the schema has them. */
function* fields(): Generator<readonly [name: string, treatment: Treatment]> {
  type Shape = Readonly<Record<string, Parameters<typeof TREATMENTS.get>[0]>>;
  const told = function* (shape: Shape, prefix: string): Generator<readonly [string, Treatment]> {
    for (const [field, schema] of Object.entries(shape)) {
      const treatment = TREATMENTS.get(schema)?.treatment;
      if (treatment === undefined) assert.equal(field, "type", `${prefix}${field} has no treatment`);
      yield [`${prefix}${field}`, treatment ?? "followed"];
    }
  };
  yield* told(TOKENIZER_JSON.shape, "");
  yield* told(ADDED_TOKEN.shape, "added_tokens.");
  for (const [slot, components] of Object.entries(COMPONENTS))
    for (const [type, schema] of Object.entries(components)) yield* told(schema.shape, `${slot}.${type}.`);
  for (const [slot, types] of Object.entries(REFUSED_COMPONENTS)) for (const type of types) yield [`${slot}.${type}`, "refused"];
}

/** Fields whose value changes nothing here: a name that is always the same, and decoders, of which ids know nothing. */
const STEADY = ["post_processor.ByteLevel.type", "model.BPE.type", "decoder.ByteLevel.type"];

test("each field of each component is followed, has no effect, or is refused by its name", () => {
  const names = [...fields()];
  assert.ok(names.length > 80, `${names.length} fields`);
  for (const [name, treatment] of names) {
    const found = cases.filter((each) => each.name === name);
    assert.ok(found.length > 0, `${name} has no case`);
    if (treatment === "refused")
      assert.ok(
        found.some(({ says }) => says !== undefined),
        `${name} is refused nowhere`,
      );
    const changes = found.filter(({ beforeIds, afterIds }) => beforeIds !== afterIds).length;
    if (treatment === "without effect" || STEADY.includes(name)) assert.equal(changes, 0, `${name} has an effect`);
    else if (treatment === "followed") assert.ok(found.some(({ says }) => says !== undefined) || changes > 0, `${name} shows no effect`);
    // decoders change what generation says, and one of them is an unknown table
    else if (!name.startsWith("decoder.")) assert.ok(changes > 0, `${name} would have no effect`);
  }
});

test("what is followed has the ids of transformers, and what is refused is named", () => {
  for (const { name, before, after, beforeIds, afterIds, says } of cases) {
    assert.deepEqual(idsOf(before), idLists(beforeIds!), `${name}, before`);
    if (says === undefined) assert.deepEqual(idsOf(after), idLists(afterIds!), name);
    else {
      const isNamed = (error: Error): boolean => error instanceof UserError && error.message.includes(`field=${says}`);
      assert.throws(() => createTokenizer(applied(tokenizer, after), "t.json"), isNamed, `${name} says ${says}`);
    }
  }
});

test("an unknown field is refused by its name, wherever it stands", () => {
  const model = tokenizer["model"] as object;
  const byteLevel = tokenizer["pre_tokenizer"] as object;
  const places: [string, Change][] = [
    ["hidden", { hidden: 1 }],
    ["model", { model: { ...model, hidden: 1 } }],
    ["pre_tokenizer", { pre_tokenizer: { ...byteLevel, hidden: 1 } }],
    ["pre_tokenizer.pretokenizers.0", { pre_tokenizer: { type: "Sequence", pretokenizers: [{ ...byteLevel, hidden: 1 }] } }],
    ["normalizer", { normalizer: { type: "NFC", hidden: 1 } }],
    ["post_processor", { post_processor: { ...byteLevel, hidden: 1 } }],
    ["decoder", { decoder: { ...byteLevel, hidden: 1 } }],
    ["added_tokens.0", { added_tokens: [{ id: 0, content: "!", hidden: 1 }] }],
    ["normalizer.type", { normalizer: { type: "Hidden" } }],
    ["pre_tokenizer.type", { pre_tokenizer: { type: "Hidden" } }],
  ];
  for (const [place, change] of places)
    assert.throws(
      () => createTokenizer(applied(tokenizer, change), "t.json"),
      (error: Error) => error instanceof UserError && error.message.includes(place) && /hidden/i.test(error.message),
      place,
    );
});
