import { UserError } from "../errors.js";
import { AddedVocabulary } from "./added-tokens.js";
import { aroundOf } from "./around.js";
import { createSentencePieceEncoder, normalizeBy, type Blanks, type SentencePieceTables } from "./sentencepiece-encoder.js";
import { parseSentencePieceJson, type SentencePieceJson } from "./sentencepiece-json.js";
import { addedToken } from "./tokenizer-json.js";
import { decodeBy, mergeTable, type Tokenizer, type TokenizerAdditions } from "./tokenizer.js";

type Model = SentencePieceJson["model"];

/** What stands for a blank in most vocabularies. */
const BLANK = "▁";

/**
 * Makes a tokenizer of SentencePiece's kind from a parsed tokenizer.json. Throws UserError that names the first field that
 * Roslin doesn't carry out. `where`: the file's name.
 */
export function createSentencePiece(json: unknown, where: string, { tokens, splitSpecial }: TokenizerAdditions): Tokenizer {
  const parsed = parseSentencePieceJson(json, where);
  const { model } = parsed;
  const vocabulary = new Map<string, number>(
    model.type === "Unigram" ? model.vocab.map(([piece], id) => [piece, id]) : Object.entries(model.vocab),
  );
  const normalizers =
    parsed.normalizer == null ? [] : parsed.normalizer.type === "Sequence" ? parsed.normalizer.normalizers : [parsed.normalizer];
  const added = new AddedVocabulary(vocabulary);
  added.add(parsed.added_tokens.map(addedToken));
  added.add(tokens);
  const normalized = normalizeBy(normalizers);
  added.check(parsed.added_tokens, normalized, where);
  const blanks = blanksOf(parsed, where);
  const symbol = blanks?.symbol ?? BLANK;
  const each = parsed.pre_tokenizer != null && parsed.pre_tokenizer.split !== false;
  const tables: SentencePieceTables = {
    kind: "sentencepiece",
    model: modelTables(model, vocabulary, where),
    added: added.list(),
    splitSpecial,
    normalizers,
    blanks,
    wordStart: each || canCut(model, vocabulary, symbol) ? { unit: symbol.charCodeAt(0), each } : null,
  };
  const texts: string[] = [];
  for (const [token, id] of vocabulary) texts[id] = token;
  for (const token of added.list()) texts[token.id] = token.normalized && normalized !== null ? normalized(token.content) : token.content;
  return {
    ...createSentencePieceEncoder(tables),
    ...decodeBy(() => decoderOf(parsed, texts)),
    tables,
    around: aroundOf(parsed.post_processor, where),
    idOf: (token) => added.idOf(token),
  };
}

/** Whether words that begin with the first of several blanks have the ids that a whole text has: no token goes on over such a place. */
function canCut(model: Model, vocabulary: ReadonlyMap<string, number>, symbol: string): boolean {
  // of Unigram's equal sums, the rounding of what stands before decides
  if (model.type === "Unigram" || model.ignore_merges === true || !vocabulary.has(symbol)) return false;
  const goesOn = (token: string): boolean =>
    token.replace(new RegExp(`^[\\u{${symbol.charCodeAt(0).toString(16)}}]+`, "u"), "").includes(symbol);
  return ![...vocabulary.keys()].some(goesOn);
}

function blanksOf({ pre_tokenizer }: SentencePieceJson, where: string): Blanks | null {
  if (pre_tokenizer == null) return null;
  const { replacement, prepend_scheme: scheme, add_prefix_space: prefix } = pre_tokenizer;
  if (prefix === false && scheme !== undefined && scheme !== "never")
    throw new UserError("this tokenizer.json contradicts itself", {
      file: where,
      field: "pre_tokenizer.add_prefix_space",
      prepend_scheme: scheme,
    });
  return { symbol: replacement, before: prefix === false ? "never" : (scheme ?? "always") };
}

/** What encoding needs of a model. Throws UserError if the model lacks what it falls back to, or has a merge without its token. */
function modelTables(model: Model, vocabulary: ReadonlyMap<string, number>, where: string): SentencePieceTables["model"] {
  const fail = (field: string, problem: string, token?: string): never => {
    throw new UserError("this tokenizer.json cannot be used", { file: where, field, problem, ...(token !== undefined && { token }) });
  };
  if (model.type === "Unigram") {
    if (model.unk_id >= vocabulary.size) fail("model.unk_id", `it is beyond the vocabulary of ${vocabulary.size}`);
    return { kind: "unigram", pieces: model.vocab, unknown: model.unk_id };
  }
  const { unk_token, byte_fallback, fuse_unk, ignore_merges } = model;
  if (unk_token != null && !vocabulary.has(unk_token)) fail("model.unk_token", "the vocabulary lacks it", unk_token);
  const missing = BYTES.find((byte) => !vocabulary.has(byte));
  if (unk_token == null && (byte_fallback !== true || missing !== undefined))
    fail("model.unk_token", "there is none, and no bytes for the characters that the vocabulary lacks, so they would be left out", missing);
  return {
    kind: "bpe",
    idOfCharacter: new Map([...vocabulary].filter(([token]) => [...token].length === 1)),
    idOfByte: byte_fallback === true ? Int32Array.from(BYTES, (byte) => vocabulary.get(byte) ?? -1) : null,
    unknown: unk_token == null ? null : vocabulary.get(unk_token)!,
    fusesUnknown: fuse_unk === true,
    merges: mergeTable(model.merges, vocabulary, where).slots,
    wholeWords: ignore_merges === true ? vocabulary : null,
  };
}

/** The texts of tokens that stand for bytes. */
const BYTES: readonly string[] = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
const BYTE_OF: ReadonlyMap<string, number> = new Map(BYTES.map((text, byte) => [text, byte]));

/** Gives the bytes of tokens in their order, by the texts that their ids have: an id without one has none, and a blank at a text's start may be left out. */
function decoderOf({ decoder }: SentencePieceJson, texts: readonly (string | undefined)[]): (id: number) => Uint8Array {
  const utf8 = new TextEncoder();
  const steps = decoder.type === "Sequence" ? decoder.decoders : [];
  const hasBytes = steps.some(({ type }) => type === "ByteFallback");
  const [replace] = steps;
  const symbol = decoder.type === "Metaspace" ? decoder.replacement : replace?.type === "Replace" ? replace.pattern.String : BLANK;
  const strips = decoder.type === "Metaspace" ? decoder.prepend_scheme !== "never" : steps.some(({ type }) => type === "Strip");
  let isStart = true;
  return (id) => {
    const token = texts[id];
    if (token === undefined) return new Uint8Array();
    const byte = hasBytes ? BYTE_OF.get(token) : undefined;
    const text = token.replaceAll(symbol, () => " ");
    const isStripped = isStart && strips;
    isStart &&= token === "";
    if (byte !== undefined) return isStripped && byte === 0x20 ? new Uint8Array() : Uint8Array.of(byte);
    if (!isStripped) return utf8.encode(text);
    return utf8.encode(decoder.type === "Metaspace" ? token.replaceAll(symbol, "") : text.replace(/^ /, ""));
  };
}
