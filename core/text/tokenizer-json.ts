import { z } from "zod";
import { UserError } from "../errors.js";

/** The parts of a Hugging Face tokenizer.json that a byte-level BPE tokenizer is made of. */

const byteLevel = z.object({ type: z.literal("ByteLevel"), add_prefix_space: z.literal(false), use_regex: z.literal(true).optional() });

function isVocabulary(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((id) => Number.isSafeInteger(id) && (id as number) >= 0);
}

function areMerges(value: unknown): boolean {
  const isPair = (item: unknown): boolean => Array.isArray(item) && item.length === 2 && item.every((side) => typeof side === "string");
  return Array.isArray(value) && value.every((item) => typeof item === "string" || isPair(item));
}

const schema = z.object({
  added_tokens: z
    .array(
      z.object({
        id: z.int().min(0),
        content: z.string().min(1),
        single_word: z.literal(false).optional(),
        lstrip: z.literal(false).optional(),
        rstrip: z.literal(false).optional(),
      }),
    )
    .default([]),
  normalizer: z.null().optional(),
  pre_tokenizer: byteLevel,
  model: z.object({
    type: z.literal("BPE").optional(),
    // fifty thousand entries each: a loop checks them, because zod takes a hundred times as long
    vocab: z.custom<Readonly<Record<string, number>>>(isVocabulary, "expected an object of whole numbers from 0"),
    /** "left right" in older files, [left, right] in newer ones */
    merges: z.custom<readonly (string | readonly [string, string])[]>(areMerges, 'expected a list of "left right" or [left, right]'),
    dropout: z.union([z.null(), z.literal(0)]).optional(),
    unk_token: z.string().nullish(),
    fuse_unk: z.literal(false).optional(),
    continuing_subword_prefix: z.literal("").nullish(),
    end_of_word_suffix: z.literal("").nullish(),
    byte_fallback: z.literal(false).optional(),
    ignore_merges: z.literal(false).optional(),
  }),
});

/** A tokenizer.json of GPT-2's kind. */
export type TokenizerJson = z.infer<typeof schema>;

/** Checks that a tokenizer.json is of GPT-2's kind. Throws UserError naming the first field that is not. `where`: the file's name. */
export function parseTokenizerJson(json: unknown, where: string): TokenizerJson {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  throw new UserError("this tokenizer.json is not of GPT-2's kind (byte-level BPE), the only kind that Roslin reads", {
    file: where,
    field: path.join("."),
    problem: message,
  });
}
