import { undisputed } from "./unicode.js";

/** Regular expressions that tokenizers split texts by, as JavaScript has them. All of a text is in some match, so it is cut between matches. */

const REST = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
// the letter s has a second small form
const CONTRACTIONS = "'[sSſ]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]";
const LETTERS = "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const LLAMA3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)${LETTERS}|\\p{N}{1,3}${REST}`;
const QWEN2 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)${LETTERS}|\\p{N}${REST}`;

/** A pattern that JavaScript reads as `tokenizers` reads the other: JavaScript's \s has U+FEFF and lacks U+0085. */
function translated(pattern: string): RegExp {
  const spaces = pattern
    .replaceAll("[^\\s", "[^\\p{White_Space}")
    .replaceAll("\\s", "\\p{White_Space}")
    .replaceAll("\\S", "\\P{White_Space}");
  return new RegExp(spaces, "gu");
}

/** By the text that a tokenizer.json has: GPT-2's own, Llama 3's and Qwen 2's. */
export const SPLIT_PATTERNS: Readonly<Record<string, RegExp>> = {
  [GPT2]: translated(GPT2),
  [LLAMA3]: translated(`${CONTRACTIONS}${LETTERS}|\\p{N}{1,3}${REST}`),
  [QWEN2]: translated(`${CONTRACTIONS}${LETTERS}|\\p{N}${REST}`),
};

const CHARACTER = "\\\\[rntsS]|\\\\[pP]\\{(?:L[ultmo]?|N|M)\\}|\\\\[^A-Za-z0-9]";
const CLASS = `\\[\\^?(?:${CHARACTER}|&(?!&)|[^\\]\\\\[&])+\\]`;
const REPEATED = "(?:[?*+]|\\{\\d+(?:,\\d*)?\\})(?!\\+)";
/** In either case; of other texts, `tokenizers` knows more forms than two. */
const ANY_CASE = "\\(\\?i:(?:'(?:[a-z]|re|ve|ll)\\|?)+\\)";
/** Classes, groups and repetitions that `tokenizers` and JavaScript take alike. */
const ALIKE = new RegExp(`^(?:${CHARACTER}|${CLASS}|${ANY_CASE}|\\((?:\\?[:!=]|(?!\\?))|[)|]|${REPEATED}|[^\\\\[\\]()|?*+{}^$&.])*$`, "u");
/** A group that repeats: it could take for ever. */
const REPEATED_GROUP = /(?<!\\)\)[*+{]/;
/** Characters of a regular expression; those of published models have some hundreds. */
const LONGEST = 2000;

/** Whether a regular expression that is none of these has only what means the same in JavaScript. */
export function compilable(pattern: string): boolean {
  return pattern.length <= LONGEST && ALIKE.test(pattern) && !REPEATED_GROUP.test(pattern);
}

/** Makes JavaScript's form of a regular expression that is none of these; null: it cannot. */
export type CompilePattern = (pattern: string) => RegExp | null;

/** The pattern by which Qwen2Tokenizer splits. */
export const QWEN2_PATTERN: string = QWEN2;

/** Cuts a text before and after each match of a global pattern. */
export function cut(text: string, pattern: RegExp): string[] {
  const parts: string[] = [];
  let end = 0;
  for (const match of undisputed(text).matchAll(pattern)) {
    if (match.index > end) parts.push(text.slice(end, match.index));
    end = match.index + match[0].length;
    parts.push(text.slice(match.index, end));
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}
