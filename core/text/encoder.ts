import { MergeTable, mergeWord } from "./bpe.js";
import { IdBuffer } from "./id-buffer.js";
import { WordCache } from "./word-cache.js";
import { wordEnd } from "./word-split.js";

/** The encoding half of a byte-level BPE tokenizer: texts to token ids. */
export interface Encoder {
  /** Token ids of a text. Nothing is added at its ends. Added tokens in it, such as <|endoftext|>, become their ids. */
  encode(text: string): number[];
  /** Appends to `out` the ids that `encode` returns. */
  append(text: string, out: IdBuffer): void;
  /** The added tokens' texts. */
  readonly added: readonly string[];
}

/** What encoding needs from a tokenizer.json, in plain arrays, so that a thread can receive it and need not read the file. */
export interface EncoderTables {
  /** [256] id of a byte's symbol; -1: the vocabulary lacks it */
  readonly idOfByte: Int32Array;
  /** a MergeTable's slots */
  readonly merges: Int32Array;
  readonly added: readonly (readonly [text: string, id: number])[];
}

/** Makes an encoder, which caches the ids of words. */
export function createEncoder(tables: EncoderTables): Encoder {
  const { idOfByte } = tables;
  const merges = new MergeTable(tables.merges);
  const added = new Map(tables.added);
  const split = separatorSplit([...added.keys()]);
  const utf8 = new TextEncoder();
  const cache = new WordCache();

  let units = new Uint16Array(1 << 12);
  let symbols = new Int32Array(1 << 8);
  /** Puts a word's ids into `symbols` and returns their number. */
  const idsOfWord = (text: string, start: number, end: number): number => {
    if (3 * (end - start) > symbols.length) symbols = new Int32Array(3 * (end - start));
    let count = 0;
    // a byte that the vocabulary lacks is left out, as in the Hugging Face library
    const put = (byte: number): void => {
      if (idOfByte[byte]! >= 0) symbols[count++] = idOfByte[byte]!;
    };
    let index = start;
    for (; index < end && units[index]! < 0x80; index++) put(units[index]!);
    if (index < end) for (const byte of utf8.encode(text.slice(index, end))) put(byte);
    return mergeWord(symbols, count, merges);
  };

  const addWords = (text: string, out: IdBuffer): void => {
    if (text.length > units.length) units = new Uint16Array(text.length * 2);
    for (let index = 0; index < text.length; index++) units[index] = text.charCodeAt(index);
    // a token has at least one byte, and a UTF-16 unit at most three
    out.reserve(3 * text.length);
    for (let start = 0; start < text.length;) {
      const end = wordEnd(units, start, text.length);
      if (!cache.append(units, start, end, out)) {
        const count = idsOfWord(text, start, end);
        cache.add(units, start, end, symbols, count);
        for (let index = 0; index < count; index++) out.ids[out.length++] = symbols[index]!;
      }
      start = end;
    }
  };
  const append = (text: string, out: IdBuffer): void => {
    for (const part of split(text)) {
      const addedId = added.get(part);
      if (addedId !== undefined) out.append([addedId]);
      else addWords(part, out);
    }
  };

  return {
    append,
    encode(text) {
      const out = new IdBuffer();
      append(text, out);
      return [...out.view()];
    },
    added: [...added.keys()],
  };
}

/** A function that cuts a text before and after every added token; of two that match, the longer one counts. */
function separatorSplit(tokens: readonly string[]): (text: string) => readonly string[] {
  if (tokens.length === 0) return (text) => [text];
  const longestFirst = [...tokens].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(`(${longestFirst.map((token) => token.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")).join("|")})`);
  // most texts have none, and searching for the prefix that all share is much faster than the pattern
  const sorted = [...tokens].sort();
  const [first, last] = [sorted[0]!, sorted.at(-1)!];
  let shared = 0;
  while (shared < first.length && first[shared] === last[shared]) shared++;
  const prefix = first.slice(0, shared);
  return (text) => (text.includes(prefix) ? text.split(pattern) : [text]);
}
