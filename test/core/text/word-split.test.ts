import assert from "node:assert/strict";
import { test } from "node:test";
import { IdBuffer } from "../../../core/text/id-buffer.js";
import { uniformAt } from "../../../core/rows/random.js";
import { WordCache } from "../../../core/text/word-cache.js";
import { wordEnd } from "../../../core/text/word-split.js";

/** GPT-2's own words for the split. JavaScript's \s has U+FEFF and lacks U+0085, so White_Space is named. */
const WORDS =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

function wordsOf(text: string): string[] {
  const units = new Uint16Array(text.length);
  for (let at = 0; at < text.length; at++) units[at] = text.charCodeAt(at);
  const words: string[] = [];
  for (let start = 0; start < text.length;) {
    const end = wordEnd(units, start, text.length);
    words.push(text.slice(start, end));
    start = end;
  }
  return words;
}

test("words end where GPT-2's regular expression ends them, whatever the characters", () => {
  const pieces = [
    ..." \n\t\r\u00a0\u0085\u2028\u3000\ufeff'’`-_.,!?#09aZéßñ日本語٣²Ⅷ\u0301\u200d\u200b",
    ..."strevmlld",
    ..."  \n\n''",
    "🙂",
    "𝒜",
    "𝟘",
    "\ud83d",
    "\ude42",
    "'re",
    "'LL",
    " '",
  ];
  for (let row = 0; row < 20_000; row++) {
    const length = 1 + Math.floor(uniformAt(1, row, 0) * 14);
    const text = Array.from({ length }, (_, at) => pieces[Math.floor(uniformAt(1, row, at + 1) * pieces.length)]).join("");
    assert.deepEqual(wordsOf(text), text.match(WORDS), JSON.stringify(text));
  }
});

test("a cache gives back what it was given, and forgets everything instead of growing without a limit", () => {
  const cache = new WordCache();
  const units = (text: string): Uint16Array => Uint16Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));
  const found = (text: string): number[] | null => {
    const ids = new IdBuffer();
    return cache.append(units(`<${text}>`), 1, 1 + text.length, ids) ? [...ids.view()] : null;
  };
  for (let word = 0; word < 150_000; word++) {
    const text = `w${word}`;
    assert.equal(found(text), null);
    cache.add(units(text), 0, text.length, Int32Array.of(word, word + 1, -1), 2);
    assert.deepEqual(found(text), [word, word + 1]);
  }
  assert.equal(found("w5"), null);
  assert.deepEqual(found("w149000"), [149_000, 149_001]);
  assert.equal(found("w"), null);
  const long = "x".repeat(65);
  cache.add(units(long), 0, long.length, Int32Array.of(1), 1);
  assert.equal(found(long), null);
});
