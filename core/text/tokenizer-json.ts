import { z } from "zod";
import { UserError } from "../errors.js";

/**
 * What a Hugging Face tokenizer.json may hold: every field of every component that `tokenizers` 0.23 writes, and what becomes
 * of it. The objects are strict, so an unknown field is refused by its name.
 */

/** What becomes of a field: the ids follow it, the ids don't depend on it, or every value but a neutral one is refused. */
export type Treatment = "followed" | "without effect" | "refused";

/** The treatment of each field's schema. */
export const TREATMENTS = z.registry<{ readonly treatment: Treatment }>();

function treated<T extends z.ZodType>(schema: T, treatment: Treatment): T {
  TREATMENTS.add(schema, { treatment });
  return schema;
}
/** A field that the ids follow. */
export const followed = <T extends z.ZodType>(schema: T): T => treated(schema, "followed");
/** A field that the ids don't depend on. */
export const withoutEffect = <T extends z.ZodType>(schema: T): T => treated(schema, "without effect");
/** A field of which every value but a neutral one is refused; `neutral` takes the values that change no ids. */
export const refused = <T extends z.ZodType>(neutral: T): T => treated(neutral, "refused");

const id = z.int().min(0);

/** A token that is cut out of a text before it becomes words. */
export interface AddedToken {
  readonly content: string;
  /** only where no word's character stands beside it */
  readonly single_word: boolean;
  /** with the white space before it */
  readonly lstrip: boolean;
  /** with the white space after it */
  readonly rstrip: boolean;
  /** whether it is looked for, normalized, in normalized text: after all the others */
  readonly normalized: boolean;
  readonly special: boolean;
}

const flag = () => z.boolean().optional();

const addedTokenSchema = z.strictObject({
  id: followed(id),
  content: followed(z.string().min(1)),
  single_word: followed(flag()),
  lstrip: followed(flag()),
  rstrip: followed(flag()),
  normalized: followed(flag()),
  // the ids follow it only where special tokens are split
  special: withoutEffect(flag()),
});

/** Schemas of the components in a slot by their `type`. */
type Schemas = Readonly<Record<string, z.ZodObject>>;

const FORMS = ["NFC", "NFD", "NFKC", "NFKD", "Lowercase"] as const;
const form = <T extends string>(type: T) => z.strictObject({ type: z.literal(type) });
const normalizers = {
  NFC: form("NFC"),
  NFD: form("NFD"),
  NFKC: form("NFKC"),
  NFKD: form("NFKD"),
  Lowercase: form("Lowercase"),
  Sequence: z.strictObject({
    type: z.literal("Sequence"),
    normalizers: followed(z.array(z.strictObject({ type: z.enum(FORMS) }))),
  }),
} satisfies Schemas;

const patterns = z.strictObject({ Regex: z.string() });
const split = z.strictObject({
  type: z.literal("Split"),
  pattern: followed(patterns),
  // all of a text is in some match: to keep the matches and to remove what is between them are one
  behavior: refused(z.enum(["Isolated", "Removed"])),
  invert: withoutEffect(z.boolean()),
});
const digits = z.strictObject({ type: z.literal("Digits"), individual_digits: followed(z.boolean()) });
const byteLevel = z.strictObject({
  type: z.literal("ByteLevel"),
  add_prefix_space: followed(z.boolean()),
  trim_offsets: withoutEffect(flag()),
  use_regex: followed(flag()),
});
const preTokenizers = {
  ByteLevel: byteLevel,
  Digits: digits,
  Split: split,
  Sequence: z.strictObject({
    type: z.literal("Sequence"),
    pretokenizers: followed(z.array(z.discriminatedUnion("type", [byteLevel, digits, split]))),
  }),
} satisfies Schemas;

const byteLevelOffsets = z.strictObject({
  type: z.literal("ByteLevel"),
  add_prefix_space: withoutEffect(flag()),
  trim_offsets: withoutEffect(flag()),
  use_regex: withoutEffect(flag()),
});
const token = z.tuple([z.string(), id]);
const bert = z.strictObject({ type: z.literal("BertProcessing"), sep: followed(token), cls: followed(token) });
const roberta = z.strictObject({
  type: z.literal("RobertaProcessing"),
  sep: followed(token),
  cls: followed(token),
  trim_offsets: withoutEffect(flag()),
  add_prefix_space: withoutEffect(flag()),
});
const piece = z.union([
  z.strictObject({ SpecialToken: z.strictObject({ id: z.string(), type_id: id }) }),
  z.strictObject({ Sequence: z.strictObject({ id: z.enum(["A", "B"]), type_id: id }) }),
]);
const template = z.strictObject({
  type: z.literal("TemplateProcessing"),
  single: followed(z.array(piece)),
  // a row is one text
  pair: withoutEffect(z.array(piece)),
  special_tokens: followed(z.record(z.string(), z.strictObject({ id: z.string(), ids: z.array(id), tokens: z.array(z.string()) }))),
});
const postProcessors = {
  ByteLevel: byteLevelOffsets,
  BertProcessing: bert,
  RobertaProcessing: roberta,
  TemplateProcessing: template,
  Sequence: z.strictObject({
    type: z.literal("Sequence"),
    processors: followed(z.array(z.discriminatedUnion("type", [byteLevelOffsets, bert, roberta, template]))),
  }),
} satisfies Schemas;

const decoders = { ByteLevel: byteLevelOffsets } satisfies Schemas;

function isVocabulary(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((entry) => Number.isSafeInteger(entry) && (entry as number) >= 0);
}

function areMerges(value: unknown): boolean {
  const isPair = (item: unknown): boolean => Array.isArray(item) && item.length === 2 && item.every((side) => typeof side === "string");
  return Array.isArray(value) && value.every((item) => (typeof item === "string" ? item.split(" ").length === 2 : isPair(item)));
}

const models = {
  BPE: z.strictObject({
    type: z.literal("BPE").optional(),
    // fifty thousand entries each: a loop checks them, because zod takes a hundred times as long
    vocab: followed(z.custom<Readonly<Record<string, number>>>(isVocabulary, "expected an object of whole numbers from 0")),
    /** "left right" in older files, [left, right] in newer ones */
    merges: followed(
      z.custom<readonly (string | readonly [string, string])[]>(areMerges, 'expected a list of "left right" or [left, right]'),
    ),
    dropout: refused(z.literal([0, null], "expected 0 or null: ids would be drawn").optional()),
    unk_token: followed(z.string().nullish()),
    fuse_unk: refused(flag().nullable()),
    continuing_subword_prefix: refused(z.literal("").nullish()),
    end_of_word_suffix: refused(z.literal("").nullish()),
    byte_fallback: refused(z.literal(false).nullish()),
    ignore_merges: followed(flag().nullable()),
  }),
} satisfies Schemas;

/** The components that Roslin carries out, by their slot in tokenizer.json and their `type`. */
export const COMPONENTS = {
  normalizer: normalizers,
  pre_tokenizer: preTokenizers,
  post_processor: postProcessors,
  decoder: decoders,
  model: models,
} satisfies Readonly<Record<string, Schemas>>;

/** Components that `tokenizers` has and Roslin refuses. */
export const REFUSED_COMPONENTS: Readonly<Record<keyof typeof COMPONENTS, readonly string[]>> = {
  normalizer: ["BertNormalizer", "Strip", "StripAccents", "Nmt", "Precompiled", "Replace", "Prepend", "ByteLevel"],
  pre_tokenizer: [
    "BertPreTokenizer",
    "CharDelimiterSplit",
    "Metaspace",
    "Whitespace",
    "Punctuation",
    "WhitespaceSplit",
    "UnicodeScripts",
    "FixedLength",
  ],
  post_processor: [],
  decoder: ["BPEDecoder", "WordPiece", "Metaspace", "CTC", "Sequence", "Replace", "Fuse", "Strip", "ByteFallback"],
  model: ["WordPiece", "WordLevel", "Unigram"],
};

const oneOf = <T extends Schemas>(slot: T) => z.discriminatedUnion("type", Object.values(slot) as [T[keyof T], ...T[keyof T][]]);

/** tokenizer.json's own fields. */
export const TOKENIZER_JSON = z.strictObject({
  version: withoutEffect(z.literal("1.0").optional()),
  // transformers turns both off unless a call asks for them
  truncation: withoutEffect(
    z
      .strictObject({
        direction: z.enum(["Left", "Right"]).optional(),
        max_length: id,
        strategy: z.enum(["LongestFirst", "OnlyFirst", "OnlySecond"]),
        stride: id,
      })
      .nullish(),
  ),
  padding: withoutEffect(
    z
      .strictObject({
        strategy: z.union([z.literal("BatchLongest"), z.strictObject({ Fixed: id })]),
        direction: z.enum(["Left", "Right"]),
        pad_to_multiple_of: id.nullable(),
        pad_id: id,
        pad_type_id: id,
        pad_token: z.string(),
      })
      .nullish(),
  ),
  added_tokens: followed(z.array(addedTokenSchema).default([])),
  normalizer: followed(oneOf(normalizers).nullish()),
  pre_tokenizer: followed(oneOf(preTokenizers)),
  post_processor: followed(oneOf(postProcessors).nullish()),
  decoder: withoutEffect(oneOf(decoders).nullish()),
  model: followed(models.BPE),
});

/** The fields of an added token. */
export const ADDED_TOKEN = addedTokenSchema;

/** A tokenizer.json of a byte-level BPE tokenizer. */
export type TokenizerJson = z.infer<typeof TOKENIZER_JSON>;

/** An added token of a tokenizer.json with all its flags. */
export function addedToken(token: TokenizerJson["added_tokens"][number]): AddedToken {
  const { content, special = false } = token;
  const { single_word = false, lstrip = false, rstrip = false, normalized = !special } = token;
  return { content, single_word, lstrip, rstrip, normalized, special };
}

/** Checks that Roslin gives the ids of a tokenizer.json. Throws UserError that names the first field of which it can't. `where`: the file's name. */
export function parseTokenizerJson(json: unknown, where: string): TokenizerJson {
  return checked(TOKENIZER_JSON, json, where, "byte-level BPE, as GPT-2 has it");
}

/** What a schema makes of a tokenizer.json. Throws UserError that names the first field that is not as the schema has it. `reads`: what Roslin reads, for the message. */
export function checked<T>(schema: z.ZodType<T>, json: unknown, where: string, reads: string): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const path = issue.code === "unrecognized_keys" ? [...issue.path, issue.keys[0]!] : issue.path;
  const message = issue.code === "unrecognized_keys" ? "a field that Roslin doesn't know" : issue.message;
  const got = path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], json);
  throw new UserError(`this tokenizer.json has what Roslin doesn't carry out: it reads ${reads}`, {
    file: where,
    field: path.join("."),
    problem: message,
    ...(["string", "number", "boolean"].includes(typeof got) && { got: JSON.stringify(got).slice(0, 200) }),
  });
}
