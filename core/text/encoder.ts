import { MergeTable, mergeWord } from "./bpe.js";
import { IdBuffer } from "./id-buffer.js";
import { WordCache } from "./word-cache.js";
import { wordEnd } from "./word-split.js";

/** Half of a byte-level BPE tokenizer: ids of texts. */
export interface Encoder {
  /** Ids of a text; nothing is added at its ends, and added tokens in it, such as <|endoftext|>, are found. */
  encode(text: string): number[];
  /** Appends the ids that `encode` gives. */
  append(text: string, out: IdBuffer): void;
  /** The added tokens' texts. */
  readonly added: readonly string[];
}

/** All that encoding needs of a tokenizer.json, in plain arrays: a thread that is sent them need not read the file. */
export interface EncoderTables {
  /** [256] id of a byte's symbol; -1: the vocabulary lacks it */
  readonly idOfByte: Int32Array;
  /** a MergeTable's */
  readonly merges: Int32Array;
  readonly added: readonly (readonly [text: string, id: number])[];
}

/** Makes an encoder; it remembers the words that it has seen. */
export function createEncoder(tables: EncoderTables): Encoder {
  const { idOfByte } = tables;
  const merges = new MergeTable(tables.merges);
  const added = new Map(tables.added);
  const split = separatorSplit([...added.keys()]);
  const utf8 = new TextEncoder();
  const cache = new WordCache();

  let units = new Uint16Array(1 << 12);
  let symbols = new Int32Array(1 << 8);
  /** Puts a word's ids into `symbols`; gives how many they are. */
  const idsOfWord = (text: string, start: number, end: number): number => {
    if (3 * (end - start) > symbols.length) symbols = new Int32Array(3 * (end - start));
    let count = 0;
    // a byte that the vocabulary lacks is left out, as the Hugging Face library does
    const put = (byte: number): void => {
      if (idOfByte[byte]! >= 0) symbols[count++] = idOfByte[byte]!;
    };
    let at = start;
    for (; at < end && units[at]! < 0x80; at++) put(units[at]!);
    if (at < end) for (const byte of utf8.encode(text.slice(at, end))) put(byte);
    return mergeWord(symbols, count, merges);
  };

  const addWords = (text: string, out: IdBuffer): void => {
    if (text.length > units.length) units = new Uint16Array(text.length * 2);
    for (let at = 0; at < text.length; at++) units[at] = text.charCodeAt(at);
    // a token has a byte at least, and a unit stands for three at most
    out.reserve(3 * text.length);
    for (let start = 0; start < text.length;) {
      const end = wordEnd(units, start, text.length);
      if (!cache.append(units, start, end, out)) {
        const count = idsOfWord(text, start, end);
        cache.add(units, start, end, symbols, count);
        for (let at = 0; at < count; at++) out.ids[out.length++] = symbols[at]!;
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

/** Cuts a text before and after every added token, longer ones first. */
function separatorSplit(tokens: readonly string[]): (text: string) => readonly string[] {
  if (tokens.length === 0) return (text) => [text];
  const longestFirst = [...tokens].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(`(${longestFirst.map((token) => token.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")).join("|")})`);
  // most texts have none, and looking for how all begin takes much less than the pattern
  const sorted = [...tokens].sort();
  const [first, last] = [sorted[0]!, sorted.at(-1)!];
  let shared = 0;
  while (shared < first.length && first[shared] === last[shared]) shared++;
  const beginning = first.slice(0, shared);
  return (text) => (text.includes(beginning) ? text.split(pattern) : [text]);
}
