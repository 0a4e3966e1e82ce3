import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { MergeTable, mergeWord } from "../../../core/text/bpe.js";
import { createTokenizer } from "../../../core/text/tokenizer.js";
import { UserError } from "../../../core/errors.js";
import { gpt2Tokenizer } from "../../../demo/tokenizer.js";

const json = gpt2Tokenizer();
const tokenizer = createTokenizer(json, "tokenizer.json");
const reference = JSON.parse(readFileSync(new URL("../../../../test/reference/tokenizer-cases.json", import.meta.url), "utf8")) as {
  cases: { text: string; ids: number[] }[];
};

test("every reference case has the Hugging Face library's ids", () => {
  assert.ok(reference.cases.length >= 38);
  for (const { text, ids } of reference.cases) assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
});

test("decoding gives every reference text back", () => {
  for (const { text, ids } of reference.cases) assert.equal(tokenizer.decode(ids), text);
});

test("merges as pairs give the same ids as merges as strings", () => {
  const model = json["model"] as { merges: string[] };
  const pairs = createTokenizer({ ...json, model: { ...model, merges: model.merges.map((merge) => merge.split(" ")) } }, "tokenizer.json");
  for (const { text, ids } of reference.cases) assert.deepEqual(pairs.encode(text), ids);
});

test("a stream gives characters only when they are complete, and the rest at the end", () => {
  const ids = tokenizer.encode("日本語 🙂!");
  const next = tokenizer.stream();
  const parts = ids.map((id) => next(id));
  assert.ok(parts.includes(""), "some token ends inside a character");
  assert.ok(parts.every((part) => !part.includes("\uFFFD")));
  assert.equal(parts.join("") + next(), "日本語 🙂!");
  const cut = tokenizer.stream();
  assert.equal(cut(ids[0]), "");
  assert.equal(cut(), "\uFFFD");
});

test("ids without a token decode to nothing", () => {
  assert.equal(tokenizer.decode([50_000_000, 15496, -100]), "Hello");
});

test("long words merge as short ones do", () => {
  const pieces = "abracadabra".repeat(3);
  const table = MergeTable.empty(6);
  const ab = [97, 98, 256] as const;
  for (const [left, right, result] of [ab, [256, 114, 257], [97, 257, 258], [257, 97, 259], [97, 97, 260], [260, 260, 261]] as const)
    table.add(left, right, result);
  const merged = (text: string): number[] => {
    const symbols = Int32Array.from(text, (letter) => letter.charCodeAt(0));
    return [...symbols.subarray(0, mergeWord(symbols, text.length, table))];
  };
  // the same word, once below and once above the length at which the heap takes over
  const short = merged(pieces);
  const long = merged(`${pieces}zzzzzzzzzzzzzzzzzzzzzzzzz`);
  assert.deepEqual(long.slice(0, short.length), short);
  assert.equal(merged("a".repeat(101)).join(), [...Array<number>(25).fill(261), 97].join());
});

test("a word of half a megabyte takes seconds at most", () => {
  const word = Array.from({ length: 500_000 }, (_, at) => "acgt"[(at * at + (at >> 3)) % 4]).join("");
  const started = performance.now();
  assert.equal(tokenizer.decode(tokenizer.encode(word)), word);
  assert.ok(performance.now() - started < 10_000);
});

test("a tiny vocabulary without merges or added tokens works, and bytes that it lacks are left out", () => {
  const tiny = createTokenizer(
    { pre_tokenizer: json["pre_tokenizer"], model: { vocab: { a: 0, b: 1, ab: 2, Ġ: 3 }, merges: ["a b"] } },
    "t.json",
  );
  assert.deepEqual(tiny.encode("ab baz"), [2, 3, 1, 0]);
  assert.equal(tiny.decode([2, 3, 1]), "ab b");
});

test("a tokenizer of another kind is refused, and the error names the field that shows it", () => {
  const refused = (change: object, field: string): void =>
    assert.throws(
      () => createTokenizer({ ...json, ...change }, "dir/tokenizer.json"),
      (error: Error) =>
        error instanceof UserError && error.message.includes(`field=${field}`) && error.message.includes("dir/tokenizer.json"),
    );
  refused({ model: { ...(json["model"] as object), type: "Unigram" } }, "model.type");
  refused({ normalizer: { type: "StripAccents" } }, "normalizer");
  refused({ pre_tokenizer: { type: "Whitespace" } }, "pre_tokenizer.type");
  refused({ model: { ...(json["model"] as object), byte_fallback: true } }, "model.byte_fallback");
  assert.throws(
    () => createTokenizer({ ...json, model: { vocab: { a: 0 }, merges: ["a b"] } }, "t.json"),
    /merge.*vocabulary lacks.*token=b/,
  );
});
