import assert from "node:assert/strict";
import { test } from "node:test";
import { AnswerText } from "../../../core/text/stopping.js";
import type { Decoder } from "../../../core/text/tokenizer.js";

/** What is said of pieces of text, one a token, and whether the answer came to an end. */
function said(pieces: readonly string[], ...stops: string[]): readonly [string[], boolean] {
  const tokenizer: Decoder = { decode: () => "", stream: () => (id) => (id === undefined ? "" : pieces[id]!) };
  const answer = new AnswerText(tokenizer, stops);
  const parts = pieces.map((_, id) => answer.add(id));
  return [[...parts, answer.end()], answer.isStopped];
}

test("an answer ends before the first of several texts, whichever token brings it", () => {
  assert.deepEqual(said(["one ", "END", " two"], "STOP", "END"), [["one", "", "", ""], true]);
  assert.deepEqual(said(["a STOP b END"], "END", "STOP"), [["a", ""], true]);
  assert.deepEqual(said(["x\n", "\nUs", "er:", " y"], "\n\nUser:"), [["x", "", "", "", ""], true]);
});

test("what begins like an end is held back, and said when it is none", () => {
  assert.deepEqual(said(["S", "T", "A", "RT"], "STOP", "TAXI"), [["", "", "S", "TAR", "T"], false]);
  assert.deepEqual(said(["ab", "ab", "abc"], "ababc"), [["", "", "ab", ""], true]);
  assert.deepEqual(said(["half ", "ST"], "STOP"), [["half", "", " ST"], false]);
});

test("without texts only the blank at the end is left out", () => {
  assert.deepEqual(said(["one", " \n", "two \n"], ""), [["one", "", " \ntwo", ""], false]);
});
