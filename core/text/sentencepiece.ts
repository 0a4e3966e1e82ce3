import { UserError } from "../errors.js";
import { AddedVocabulary } from "./added-tokens.js";
import { aroundOf } from "./around.js";
import {
  createSentencePieceEncoder,
  normalizeBy,
  type Blanks,
  type OpenWordModel,
  type SentencePieceTables,
} from "./sentencepiece-encoder.js";
import { parseSentencePieceJson, type SentencePieceJson } from "./sentencepiece-json.js";
import { addedToken } from "./tokenizer-json.js";
import { decodeBy, type Tokenizer, type TokenizerAdditions } from "./tokenizer.js";

/** What stands for a blank in most vocabularies. */
const BLANK = "▁";

/**
 * Makes a tokenizer of SentencePiece's kind from a parsed tokenizer.json. Throws UserError that names the first field that
 * Roslin doesn't carry out. `where`: the file's name.
 */
export function createSentencePiece(
  json: unknown,
  where: string,
  { tokens, splitSpecial }: TokenizerAdditions,
  openModel: OpenWordModel,
): Tokenizer {
  const parsed = parseSentencePieceJson(json, where);
  const { model } = parsed;
  const vocabulary = new Map<string, number>(
    model.type === "Unigram" ? model.vocab.map(([piece], id) => [piece, id]) : Object.entries(model.vocab),
  );
  checkModel(model, vocabulary, where);
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
    model: JSON.stringify(model),
    added: added.list(),
    splitSpecial,
    normalizers,
    blanks,
    wordStart:
      each || (canCut(vocabulary, symbol) && !("ignore_merges" in model && model.ignore_merges === true))
        ? { unit: symbol.charCodeAt(0), each }
        : null,
  };
  const texts: string[] = [];
  for (const [token, id] of vocabulary) texts[id] = token;
  for (const token of added.list()) texts[token.id] = token.normalized && normalized !== null ? normalized(token.content) : token.content;
  return {
    ...createSentencePieceEncoder(tables, openModel(tables.model)),
    ...decodeBy(() => decoderOf(parsed, texts)),
    tables,
    around: aroundOf(parsed.post_processor, where),
    idOf: (token) => added.idOf(token),
  };
}

/** Whether words that begin with the first of several blanks have the ids that a whole text has: no token goes on over such a place. */
function canCut(vocabulary: ReadonlyMap<string, number>, symbol: string): boolean {
  const crosses = new RegExp(`[^${symbol}]${symbol}`, "u");
  return vocabulary.has(symbol) && ![...vocabulary.keys()].some((token) => crosses.test(token));
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

/** Throws UserError if a model lacks what encoding falls back to, or has a merge without its token. */
function checkModel(model: SentencePieceJson["model"], vocabulary: ReadonlyMap<string, number>, where: string): void {
  const fail = (field: string, problem: string, token?: string): never => {
    throw new UserError("this tokenizer.json cannot be used", { file: where, field, problem, ...(token !== undefined && { token }) });
  };
  if (model.type === "Unigram") {
    if (model.unk_id >= vocabulary.size) fail("model.unk_id", `it is beyond the vocabulary of ${vocabulary.size}`);
    return;
  }
  if (model.unk_token != null && !vocabulary.has(model.unk_token)) fail("model.unk_token", "the vocabulary lacks it", model.unk_token);
  const missing = BYTES.find((byte) => !vocabulary.has(byte));
  if (model.unk_token == null && (model.byte_fallback !== true || missing !== undefined))
    fail("model.unk_token", "there is none, and no bytes for the characters that the vocabulary lacks, so they would be left out", missing);
  for (const merge of model.merges) {
    const [left, right] = typeof merge === "string" ? (merge.split(" ") as [string, string]) : merge;
    const lacked = [left, right, left + right].find((token) => !vocabulary.has(token));
    if (lacked !== undefined) fail("model.merges", "a merge names a token that the vocabulary lacks", lacked);
  }
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
