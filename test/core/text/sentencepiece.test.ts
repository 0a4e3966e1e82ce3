import assert from "node:assert/strict";
import { test } from "node:test";
import { createSentencePiece } from "../../../core/text/sentencepiece.js";
import { createUnigram } from "../../../core/text/unigram.js";
import type { Tokenizer } from "../../../core/text/tokenizer.js";

const BYTES = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
const TOKENS = ["<unk>", "<s>", "</s>", ...BYTES, ..."▁abcdé", "▁▁", "ab", "▁ab", "▁a"];
const MERGES = ["▁ ▁", "a b", "▁ ab", "▁ a"];

/** Llama's kind of tokenizer with a few merges. */
function llama(change: object = {}, model: object = {}): Tokenizer {
  const json = {
    added_tokens: ["<s>", "</s>"].map((content, index) => ({ id: index + 1, content, special: true })),
    normalizer: null,
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(TOKENS.map((token, id) => [token, id])),
      merges: MERGES,
      byte_fallback: true,
      ...model,
    },
    ...change,
  };
  return createSentencePiece(json, "t.json", { tokens: [], splitSpecial: false });
}
const id = (token: string): number => TOKENS.indexOf(token);

test("a text's start gets a blank, what follows a special token none, and unknown characters are bytes", () => {
  const { encode } = llama();
  assert.deepEqual(encode("ab c</s>ab 日"), ["▁ab", "▁", "c", "</s>", "ab", "▁", "<0xE6>", "<0x97>", "<0xA5>"].map(id));
  assert.deepEqual(encode(" ab"), [id("▁ab")]);
  assert.deepEqual(encode("  ab"), [id("▁▁"), id("ab")]);
  assert.deepEqual(encode(""), []);
});

test("a stream gives characters when their bytes are complete, without the first blank, and the rest at the end", () => {
  const { encode, stream, decode } = llama();
  for (const text of ["ab 日本 🙂 c", " ab", "é", "ab", "日</s>  ab"]) {
    const next = stream();
    const parts = encode(text).map((token) => next(token));
    assert.ok(parts.every((part) => !part.includes("\uFFFD")));
    const whole = parts.join("") + next();
    assert.equal(whole, decode(encode(text)));
    assert.equal(whole, text.replace(/^ /, ""));
  }
  const cut = stream();
  assert.deepEqual([cut(id("▁ab")), cut(id("<0xE6>")), cut(id("<0x97>")), cut()], ["ab", "", "", "\uFFFD"]);
  assert.equal(decode([id("<0xE6>"), id("a"), 9999]), "\uFFFDa");
  assert.equal(decode([id("<s>"), id("▁ab"), id("▁"), id("<0x20>")]), "<s> ab  ");
  // only one blank is the tokenizer's own
  assert.equal(decode([id("▁▁"), id("a")]), " a");
});

test("words are cut at blanks only where no token goes on over one", () => {
  const tables = (tokenizer: Tokenizer): unknown => tokenizer.tables.kind === "sentencepiece" && tokenizer.tables.wordStart;
  assert.deepEqual(tables(llama()), { unit: "▁".charCodeAt(0), each: false });
  const crossing = llama({}, { vocab: Object.fromEntries([...TOKENS, "b▁"].map((token, at) => [token, at])), merges: ["b ▁", ...MERGES] });
  assert.equal(tables(crossing), null);
  assert.deepEqual(crossing.encode("ab c"), [id("▁a"), TOKENS.length, id("c")]);
});

test("a text of half a megabyte without a blank takes seconds at most", () => {
  const text = Array.from({ length: 500_000 }, (_, at) => "abcd"[(at * at + (at >> 3)) % 4]).join("");
  const { encode, decode } = llama();
  const started = performance.now();
  assert.equal(decode(encode(text)), text);
  assert.ok(performance.now() - started < 10_000);
});

test("of Unigram's ways the best sum counts, of equal sums the longer last piece, and unknown characters are one", () => {
  const pieces: [string, number][] = [
    ["<unk>", 0],
    ["a", -1],
    ["b", -1],
    ["ab", -2],
    ["aba", -2.5],
  ];
  const encode = createUnigram({ kind: "unigram", pieces, unknown: 0 });
  const idsOf = (word: string): number[] => {
    const ids = new Int32Array(20);
    return [...ids.subarray(0, encode(word, ids))];
  };
  assert.deepEqual(idsOf("ab"), [3]);
  assert.deepEqual(idsOf("abab"), [4, 2]);
  assert.deepEqual(idsOf("a🙂日b"), [1, 0, 2]);
  assert.deepEqual(idsOf(""), []);
});
