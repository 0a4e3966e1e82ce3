import { createSeparator, type AddedPattern } from "./added-tokens.js";
import { MergeTable, mergeWord } from "./bpe.js";
import { SYMBOL_OF_BYTE } from "./byte-symbols.js";
import { IdBuffer } from "./id-buffer.js";
import { cut } from "./split-patterns.js";
import type { Normalizer } from "./unicode.js";
import { WordCache } from "./word-cache.js";
import { wordEnd } from "./word-split.js";

/** The encoding half of a byte-level BPE tokenizer: texts to token ids. */
export interface Encoder {
  /** Token ids of a text. Nothing is added at its ends. Added tokens in it, such as <|endoftext|>, become their ids. */
  encode(text: string): number[];
  /** Appends to `out` the ids that `encode` returns. */
  append(text: string, out: IdBuffer): void;
  /** Whether a text that ends with a line feed and one that begins with a letter A to Z have the same ids apart as together. */
  readonly splitsAtLines: boolean;
}

/** What encoding needs from a tokenizer's files, in plain data, so that a thread can receive it and need not read them. */
export interface EncoderTables {
  /** [256] id of a byte's symbol; -1: the vocabulary lacks it */
  readonly idOfByte: Int32Array;
  /** a MergeTable's slots */
  readonly merges: Int32Array;
  readonly added: readonly AddedPattern[];
  /** special tokens in a text are text */
  readonly splitSpecial: boolean;
  /** in this order */
  readonly normalizers: readonly Normalizer[];
  /** cut texts into pieces, one after the other */
  readonly patterns: readonly RegExp[];
  /** whether each piece gets a blank before it, unless it begins with one */
  readonly prefixSpace: boolean;
  /** whether GPT-2's rule splits the pieces into words; else each is one */
  readonly gpt2Words: boolean;
  /** ids of words that are not merged, by their bytes' symbols; null: all are merged */
  readonly wholeWords: ReadonlyMap<string, number> | null;
}

/** Makes an encoder, which caches the ids of words. */
export function createEncoder(tables: EncoderTables): Encoder {
  const { idOfByte, added, normalizers, patterns, prefixSpace, gpt2Words, wholeWords } = tables;
  const merges = new MergeTable(tables.merges);
  const separate = createSeparator(added, normalizers, tables.splitSpecial);
  const utf8 = new TextEncoder();
  const cache = new WordCache();

  let units = new Uint16Array(1 << 12);
  let symbols = new Int32Array(1 << 8);
  /** Puts a word's ids into `symbols` and returns their number. */
  const idsOfWord = (text: string, start: number, end: number): number => {
    if (wholeWords !== null) {
      const whole = wholeWords.get(Array.from(utf8.encode(text.slice(start, end)), (byte) => SYMBOL_OF_BYTE[byte]).join(""));
      if (whole !== undefined) {
        symbols[0] = whole;
        return 1;
      }
    }
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
      const end = gpt2Words ? wordEnd(units, start, text.length) : text.length;
      if (!cache.append(units, start, end, out)) {
        const count = idsOfWord(text, start, end);
        cache.add(units, start, end, symbols, count);
        for (let index = 0; index < count; index++) out.ids[out.length++] = symbols[index]!;
      }
      start = end;
    }
  };
  const addPiece = (text: string, out: IdBuffer): void =>
    addWords(prefixSpace && text !== "" && !text.startsWith(" ") ? ` ${text}` : text, out);
  const append = (text: string, out: IdBuffer): void => {
    for (const part of separate(text)) {
      if (typeof part === "number") out.append([part]);
      else if (patterns.length === 0) addPiece(part, out);
      else
        for (const piece of patterns.reduce((pieces, pattern) => pieces.flatMap((each) => cut(each, pattern)), [part]))
          addPiece(piece, out);
    }
  };

  const isPlain = normalizers.length === 0 && patterns.length === 0 && !prefixSpace && gpt2Words;
  return {
    append,
    encode(text) {
      const out = new IdBuffer();
      append(text, out);
      return [...out.view()];
    },
    // an added token may reach over the end of the line
    splitsAtLines: isPlain && added.every((token) => !token.content.includes("\n") && !token.single_word && !token.lstrip && !token.rstrip),
  };
}
