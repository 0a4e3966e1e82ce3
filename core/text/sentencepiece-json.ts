import { z } from "zod";
import { checked, followed, refused, TOKENIZER_JSON, withoutEffect } from "./tokenizer-json.js";

/**
 * What a tokenizer.json of SentencePiece's kind may hold, as Llama 2 and Mistral have it: BPE of characters, with bytes for
 * the characters that the vocabulary lacks, or Unigram. Blanks are a character of their own.
 */

const FORMS = ["NFC", "NFD", "NFKC", "NFKD", "Lowercase"] as const;
const text = z.strictObject({ String: z.string().min(1) }, "expected a text: regular expressions are not carried out");
/** a blank's stand-in */
const symbol = z.string().length(1, "expected one character");
const replace = z.strictObject({ type: z.literal("Replace"), pattern: followed(text), content: followed(z.string()) });
const prepend = z.strictObject({ type: z.literal("Prepend"), prepend: followed(z.string()) });
const form = <T extends (typeof FORMS)[number]>(type: T) => z.strictObject({ type: z.literal(type) });
const [nfc, nfd, nfkc, nfkd, lowercase] = [form("NFC"), form("NFD"), form("NFKC"), form("NFKD"), form("Lowercase")];
const step = z.discriminatedUnion("type", [nfc, nfd, nfkc, nfkd, lowercase, replace, prepend]);
const normalizers = z.strictObject({ type: z.literal("Sequence"), normalizers: followed(z.array(step)) });

const metaspace = z.strictObject({
  type: z.literal("Metaspace"),
  replacement: followed(symbol),
  prepend_scheme: followed(z.enum(["always", "first", "never"]).optional()),
  split: followed(z.boolean().optional()),
  /** of older files */
  add_prefix_space: followed(z.boolean().optional()),
  str_rep: withoutEffect(z.string().optional()),
});

const decoderStep = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("Replace"), pattern: followed(text), content: followed(z.literal(" ")) }),
  z.strictObject({ type: z.literal("ByteFallback") }),
  z.strictObject({ type: z.literal("Fuse") }),
  z.strictObject({
    type: z.literal("Strip"),
    content: followed(z.literal(" ")),
    start: followed(z.literal(1)),
    stop: refused(z.literal(0)),
  }),
]);
const ORDERS: readonly string[] = ["", " Strip"].flatMap((end) => [`Replace ByteFallback Fuse${end}`, `Replace Fuse${end}`]);
const decoders = z.strictObject({
  type: z.literal("Sequence"),
  decoders: followed(
    z
      .array(decoderStep)
      .refine((steps) => ORDERS.includes(steps.map(({ type }) => type).join(" ")), `expected one of: ${ORDERS.join(", ")}`),
  ),
});

function isVocabulary(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const ids = Object.values(value) as unknown[];
  return ids.every((id) => Number.isSafeInteger(id) && (id as number) >= 0) && new Set(ids).size === ids.length;
}
function arePieces(value: unknown): boolean {
  const isPiece = (item: unknown): boolean =>
    Array.isArray(item) && item.length === 2 && typeof item[0] === "string" && Number.isFinite(item[1]);
  return (
    Array.isArray(value) && value.every(isPiece) && new Set((value as [string, number][]).map(([piece]) => piece)).size === value.length
  );
}

const bpe = TOKENIZER_JSON.shape.model.extend({
  type: z.literal("BPE").optional(),
  vocab: followed(z.custom<Readonly<Record<string, number>>>(isVocabulary, "expected an object of whole numbers from 0, each once")),
  fuse_unk: followed(z.boolean().nullish()),
  byte_fallback: followed(z.boolean().nullish()),
});
const unigram = z.strictObject({
  type: z.literal("Unigram"),
  unk_id: followed(z.int().min(0)),
  vocab: followed(
    z.custom<readonly (readonly [string, number])[]>(arePieces, "expected a list of pieces with their scores, each piece once"),
  ),
  byte_fallback: refused(z.literal(false).nullish()),
});

const SENTENCEPIECE_JSON = TOKENIZER_JSON.extend({
  normalizer: followed(z.discriminatedUnion("type", [...step.options, normalizers]).nullish()),
  pre_tokenizer: followed(metaspace.nullish()),
  decoder: followed(z.discriminatedUnion("type", [metaspace, decoders])),
  model: followed(z.discriminatedUnion("type", [bpe, unigram])),
});

/** A step of a normalizer. */
export type NormalizerStep = z.infer<typeof step>;

/** A tokenizer.json of SentencePiece's kind. */
export type SentencePieceJson = z.infer<typeof SENTENCEPIECE_JSON>;

/** Whether a tokenizer.json is of SentencePiece's kind: its words are no bytes. */
export function isSentencePiece(json: unknown): boolean {
  type Typed = { readonly type?: unknown; readonly pretokenizers?: readonly Typed[] } | null | undefined;
  const { pre_tokenizer, model } = json as { readonly pre_tokenizer?: Typed; readonly model?: Typed };
  const last =
    pre_tokenizer?.type === "Sequence" && Array.isArray(pre_tokenizer.pretokenizers) ? pre_tokenizer.pretokenizers.at(-1) : pre_tokenizer;
  return model?.type === "Unigram" || last?.type !== "ByteLevel";
}

/** Checks that Roslin gives the ids of a tokenizer.json. Throws UserError that names the first field of which it can't. `where`: the file's name. */
export function parseSentencePieceJson(json: unknown, where: string): SentencePieceJson {
  return checked(
    SENTENCEPIECE_JSON,
    json,
    where,
    "byte-level BPE as GPT-2 has it, and SentencePiece's kinds as Llama 2 and Mistral have them",
  );
}
