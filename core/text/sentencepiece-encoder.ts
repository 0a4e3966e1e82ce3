import { createSeparator, type AddedPattern, type Normalize } from "./added-tokens.js";
import { MergeTable, mergeWord } from "./bpe.js";
import type { Encoder } from "./encoder.js";
import { IdBuffer } from "./id-buffer.js";
import type { NormalizerStep } from "./sentencepiece-json.js";
import { normalize } from "./unicode.js";
import { createUnigram, type UnigramTables } from "./unigram.js";
import { createWordEncoder, type WordRule } from "./words.js";

/** What BPE of characters needs from a tokenizer's files, in plain data. */
interface CharacterTables {
  readonly kind: "bpe";
  /** ids of the tokens that are one character */
  readonly idOfCharacter: ReadonlyMap<string, number>;
  /** [256] id of a byte's token, of which characters without one are made; -1: the vocabulary lacks it; null: characters are not made of bytes */
  readonly idOfByte: Int32Array | null;
  /** id of a character that has no other; null: there is none, and none is needed */
  readonly unknown: number | null;
  /** whether unknown characters side by side are one */
  readonly fusesUnknown: boolean;
  /** a MergeTable's slots */
  readonly merges: Int32Array;
  /** ids of words that are not merged; null: all are merged */
  readonly wholeWords: ReadonlyMap<string, number> | null;
}

/** Puts a symbol in the place of blanks, and one before a text. */
export interface Blanks {
  /** one UTF-16 unit */
  readonly symbol: string;
  /** which pieces of a text get one before them, unless they begin with one: those between added tokens, only the text's start, none */
  readonly before: "always" | "first" | "never";
}

/** What encoding by SentencePiece's kinds needs from a tokenizer's files, in plain data, so that a thread can receive it and need not read them. */
export interface SentencePieceTables {
  readonly kind: "sentencepiece";
  readonly model: CharacterTables | UnigramTables;
  readonly added: readonly AddedPattern[];
  /** special tokens in a text are text */
  readonly splitSpecial: boolean;
  /** in this order */
  readonly normalizers: readonly NormalizerStep[];
  /** null: blanks stay as the normalizers left them */
  readonly blanks: Blanks | null;
  /** the unit before which a word begins, and whether each does so, or only the first of several; null: a piece is one word */
  readonly wordStart: { readonly unit: number; readonly each: boolean } | null;
}

/** What a list of normalizers makes of a text; null: they leave it alone. */
export function normalizeBy(steps: readonly NormalizerStep[]): Normalize | null {
  return steps.length === 0 ? null : (text) => steps.reduce(normalizeStep, text);
}

function normalizeStep(text: string, step: NormalizerStep): string {
  if (step.type === "Prepend") return text === "" ? "" : step.prepend + text;
  if (step.type === "Replace") return text.replaceAll(step.pattern.String, () => step.content);
  return normalize(text, step.type);
}

/** Makes an encoder, which caches the ids of words. */
export function createSentencePieceEncoder(tables: SentencePieceTables): Encoder {
  const { added, splitSpecial, normalizers, blanks } = tables;
  const separate = createSeparator(added, normalizeBy(normalizers), splitSpecial);
  const idsOf = tables.model.kind === "bpe" ? createCharacters(tables.model) : createUnigram(tables.model);
  const addWords = createWordEncoder({
    wordEnd: wordEndBy(tables.wordStart),
    wordIds: (text, _, start, end, ids) => idsOf(text.slice(start, end), ids),
  });
  const withBlanks = (piece: string, index: number): string => {
    if (blanks === null || piece === "") return piece;
    const { symbol, before } = blanks;
    const replaced = piece.replaceAll(" ", symbol);
    const isPrefixed = before === "always" || (before === "first" && index === 0);
    return isPrefixed && !replaced.startsWith(symbol) ? symbol + replaced : replaced;
  };
  const append = (text: string, out: IdBuffer): void => {
    for (const [index, part] of separate(text).entries())
      if (typeof part === "number") out.append([part]);
      else addWords(withBlanks(part, index), out);
  };
  return {
    append,
    encode(text) {
      const out = new IdBuffer();
      append(text, out);
      return [...out.view()];
    },
    splitsAtLines: false,
  };
}

/** Makes a function that puts a word's ids into `ids` and returns their number. */
function createCharacters(tables: CharacterTables): (word: string, ids: Int32Array) => number {
  const { idOfCharacter, idOfByte, unknown, fusesUnknown, wholeWords } = tables;
  const merges = new MergeTable(tables.merges);
  const utf8 = new TextEncoder();
  return (word, ids) => {
    const whole = wholeWords?.get(word);
    if (whole !== undefined) {
      ids[0] = whole;
      return 1;
    }
    let count = 0;
    // an unknown character is put when the next known one comes, as in `tokenizers`, and bytes come before it
    let waits = false;
    for (const character of word) {
      const id = idOfCharacter.get(character);
      const bytes = id === undefined && idOfByte !== null ? Array.from(utf8.encode(character), (byte) => idOfByte[byte]!) : [];
      if (id === undefined && bytes.length > 0 && !bytes.includes(-1)) for (const byte of bytes) ids[count++] = byte;
      else {
        if (waits && (id !== undefined || !fusesUnknown)) ids[count++] = unknown!;
        waits = id === undefined;
        if (id !== undefined) ids[count++] = id;
      }
    }
    if (waits) ids[count++] = unknown!;
    return mergeWord(ids, count, merges);
  };
}

function wordEndBy(wordStart: SentencePieceTables["wordStart"]): WordRule["wordEnd"] {
  if (wordStart === null) return (_, __, end) => end;
  const { unit, each } = wordStart;
  return (units, start, end) => {
    let at = start + 1;
    while (at < end && (units[at] !== unit || (!each && units[at - 1] === unit))) at++;
    return at;
  };
}
