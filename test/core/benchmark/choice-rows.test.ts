import assert from "node:assert/strict";
import { test } from "node:test";
import { isRight } from "../../../core/benchmark/accuracy.js";
import { createRowMaker, type RowMaker } from "../../../core/benchmark/choice-rows.js";
import { IGNORED } from "../../../core/rows/token-rows.js";

const BOS = 999;
/** A token is a character's code; `before`: what the tokenizer puts before a text by itself. */
function tokenizer(before: readonly number[] = [], bosToken: string | null = "<s>"): RowMaker["tokenizer"] {
  return {
    encode: (text) => [...text.replaceAll("<s>", "\u03e7")].map((character) => character.codePointAt(0)!),
    around: { before, after: [] },
    bosToken,
    eosToken: null,
    idOf: () => BOS,
  };
}

/** The ids of a row, and those that are scored. */
function rowOf(context: string, continuation: string, maker: Partial<RowMaker> = {}): readonly [ids: string, scored: string] {
  const row = createRowMaker({ tokenizer: tokenizer(), positions: 64, ...maker })(context, continuation, 0);
  const text = (ids: ArrayLike<number>): string => String.fromCodePoint(...Array.from(ids)).replaceAll(String.fromCodePoint(BOS), "^");
  return [text(row.inputIds), text(row.labels.filter((label) => label !== IGNORED))];
}

test("the continuation is scored, and its last token is not computed", () => {
  assert.deepEqual(rowOf("ab", " cd"), ["ab c", " cd"]);
});

test("white space at the context's end belongs to the continuation, whatever kind it is", () => {
  assert.deepEqual(rowOf("ab \n", " cd"), ["ab \n c", " \n cd"]);
  assert.deepEqual(rowOf("ab\u00a0\x85", " c"), ["ab\u00a0\x85 ", "\u00a0\x85 c"]);
  // Python does not take a byte order mark for white space
  assert.deepEqual(rowOf("ab\ufeff", " c"), ["ab\ufeff ", " c"]);
});

test("before an empty context stands BOS, else EOS, and a continuation that begins with it needs none", () => {
  assert.deepEqual(rowOf("", " cd"), ["^ c", " cd"]);
  assert.deepEqual(rowOf(" \n", "c"), ["^ \n", " \nc"]);
  assert.deepEqual(rowOf("", "<s>cd"), ["^c", "cd"]);
  assert.deepEqual(rowOf("", "cd", { tokenizer: { ...tokenizer([], null), eosToken: "<e>" } }), ["^c", "cd"]);
  assert.throws(() => rowOf("", "cd", { tokenizer: tokenizer([], null) }), /the tokenizer has neither a BOS nor an EOS token/);
});

test("a tokenizer that writes BOS by itself does so once", () => {
  const own = { tokenizer: tokenizer([BOS]) };
  assert.deepEqual(rowOf("ab", " cd", own), ["^ab c", " cd"]);
  assert.deepEqual(rowOf("", " cd", own), ["^ c", " cd"]);
  assert.deepEqual(rowOf("<s>ab", " cd", own), ["^ab c", " cd"]);
  assert.deepEqual(rowOf(" ", "cd", own), ["^ c", " cd"]);
});

test("a row that is too long loses its first tokens", () => {
  assert.deepEqual(rowOf("abcdef", "gh", { positions: 4 }), ["defg", "gh"]);
  assert.deepEqual(rowOf("abcdef", "ghij", { positions: 4 }), ["fghi", "ghij"]);
  assert.throws(() => rowOf("a", "ghijk", { positions: 4 }), /more tokens than the model has positions \[expected=4, got=5\]/);
  assert.throws(() => rowOf("a", ""), /adds no token to the context/);
});

test("the first of equally likely choices counts, and acc_norm divides by characters", () => {
  const item = { lengths: [2, 2, 8], answer: 0 };
  assert.equal(isRight("acc", item, [-4, -4, -5]), 1);
  assert.equal(isRight("acc", { ...item, answer: 1 }, [-4, -4, -5]), 0);
  assert.equal(isRight("acc_norm", { ...item, answer: 2 }, [-4, -4, -5]), 1);
  // what cleaning left empty is never taken
  assert.equal(isRight("acc_norm", { lengths: [0, 2], answer: 1 }, [-1, -50]), 1);
});
