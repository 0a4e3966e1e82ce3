import { createSeparator, type AddedPattern } from "./added-tokens.js";
import { MergeTable, mergeWord } from "./bpe.js";
import { SYMBOL_OF_BYTE } from "./byte-symbols.js";
import { IdBuffer } from "./id-buffer.js";
import { cut } from "./split-patterns.js";
import { normalize, type Normalizer } from "./unicode.js";
import { wordEnd } from "./word-split.js";
import { createWordEncoder } from "./words.js";

/** The encoding half of a tokenizer: texts to token ids. */
export interface Encoder {
  /** Token ids of a text. Nothing is added at its ends. Added tokens in it, such as <|endoftext|>, become their ids. */
  encode(text: string): number[];
  /** Appends to `out` the ids that `encode` returns. */
  append(text: string, out: IdBuffer): void;
  /** Whether a text that ends with a line feed and one that begins with a letter A to Z have the same ids apart as together. */
  readonly splitsAtLines: boolean;
}

/** What encoding by byte-level BPE needs from a tokenizer's files, in plain data, so that a thread can receive it and need not read them. */
export interface ByteLevelTables {
  readonly kind: "byte-level";
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
export function createByteLevelEncoder(tables: ByteLevelTables): Encoder {
  const { idOfByte, added, normalizers, patterns, prefixSpace, gpt2Words, wholeWords } = tables;
  const merges = new MergeTable(tables.merges);
  const normalized = normalizers.length === 0 ? null : (text: string) => normalizers.reduce(normalize, text);
  const separate = createSeparator(added, normalized, tables.splitSpecial);
  const utf8 = new TextEncoder();
  const addWords = createWordEncoder({
    wordEnd: gpt2Words ? wordEnd : (_, __, end) => end,
    wordIds(text, units, start, end, ids) {
      if (wholeWords !== null) {
        const whole = wholeWords.get(Array.from(utf8.encode(text.slice(start, end)), (byte) => SYMBOL_OF_BYTE[byte]).join(""));
        if (whole !== undefined) {
          ids[0] = whole;
          return 1;
        }
      }
      let count = 0;
      // a byte that the vocabulary lacks is left out, as in the Hugging Face library
      const put = (byte: number): void => {
        if (idOfByte[byte]! >= 0) ids[count++] = idOfByte[byte]!;
      };
      let index = start;
      for (; index < end && units[index]! < 0x80; index++) put(units[index]!);
      if (index < end) for (const byte of utf8.encode(text.slice(index, end))) put(byte);
      return mergeWord(ids, count, merges);
    },
  });
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
