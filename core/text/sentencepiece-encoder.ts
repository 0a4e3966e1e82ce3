import { createSeparator, type AddedPattern, type Normalize } from "./added-tokens.js";
import type { Encoder } from "./encoder.js";
import { IdBuffer } from "./id-buffer.js";
import type { NormalizerStep } from "./sentencepiece-json.js";
import { normalize } from "./unicode.js";
import { createWordEncoder, type WordRule } from "./words.js";

/** Ids of a word's tokens by the vocabulary of a model, be it BPE or Unigram. */
export type WordModel = (word: string) => readonly number[];

/** Makes a word model of the JSON text of tokenizer.json's `model`, which has been checked. */
export type OpenWordModel = (json: string) => WordModel;

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
  /** JSON text of the model */
  readonly model: string;
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
export function createSentencePieceEncoder(tables: SentencePieceTables, model: WordModel): Encoder {
  const { added, splitSpecial, normalizers, blanks } = tables;
  const separate = createSeparator(added, normalizeBy(normalizers), splitSpecial);
  const addWords = createWordEncoder({
    wordEnd: wordEndBy(tables.wordStart),
    wordIds(text, _, start, end, ids) {
      const found = model(text.slice(start, end));
      ids.set(found);
      return found.length;
    },
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

function wordEndBy(wordStart: SentencePieceTables["wordStart"]): WordRule["wordEnd"] {
  if (wordStart === null) return (_, __, end) => end;
  const { unit, each } = wordStart;
  return (units, start, end) => {
    let at = start + 1;
    while (at < end && (units[at] !== unit || (!each && units[at - 1] === unit))) at++;
    return at;
  };
}
