/** How byte-level tokenizers of GGUFs split texts into words: by the name that llama.cpp gives to a kind, as tokenizer.json says it. */

/** A kind of splitting, and what else llama.cpp does with it. */
export interface GgufWords {
  readonly normalizer: object | null;
  readonly preTokenizer: object;
  /** a word that is a token is that token, whatever the merges would make of it */
  readonly wholeWords: boolean;
  /** whether BOS begins a text if the file doesn't say */
  readonly addBos: boolean;
}

const END = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const START = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";

const byteLevel = (use_regex: boolean): object => ({ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex });
const sequence = (first: object, last: object): object => ({ type: "Sequence", pretokenizers: [first, last] });
const split = (Regex: string): object =>
  sequence({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false }, byteLevel(false));

const GPT2: GgufWords = { normalizer: null, preTokenizer: byteLevel(true), wholeWords: false, addBos: false };
const DIGITS: GgufWords = { ...GPT2, preTokenizer: sequence({ type: "Digits", individual_digits: true }, byteLevel(true)) };
const LLAMA3: GgufWords = { ...GPT2, preTokenizer: split(`${START}|\\p{N}{1,3}${END}`), wholeWords: true, addBos: true };
const QWEN2: GgufWords = { ...GPT2, preTokenizer: split(`${START}|\\p{N}${END}`) };

/** By llama.cpp's names. */
const KINDS: readonly (readonly [names: string, words: GgufWords])[] = [
  ["gpt-2", GPT2],
  ["smollm,starcoder,refact,minerva-7b", DIGITS],
  ["llama-bpe,llama3,llama-v3,falcon3,pixtral,midm-2.0", LLAMA3],
  ["dbrx,smaug-bpe", { ...LLAMA3, wholeWords: false, addBos: false }],
  // Qwen's own tokenizer normalizes, and those that were made from it do not
  ["qwen2", { ...QWEN2, normalizer: { type: "NFC" } }],
  ["deepseek-r1-qwen,megrez", QWEN2],
];

/** The kinds that are read, by name. */
export const GGUF_WORDS: ReadonlyMap<string, GgufWords> = new Map(
  KINDS.flatMap(([names, words]) => names.split(",").map((name) => [name, words] as const)),
);
