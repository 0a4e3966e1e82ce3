import { UserError } from "../errors.js";
import type { AddedToken } from "./tokenizer-json.js";

/** Special and added tokens as transformers 5 gathers them from tokenizer_config.json, special_tokens_map.json and added_tokens.json. */

/** An added token as the files have it; `normalized` null: it is normalized unless it turns out to be special. */
export interface FlaggedToken extends Omit<AddedToken, "normalized"> {
  readonly normalized: boolean | null;
}

/** A special token is a text alone, or comes with its flags. */
export type SpecialToken = string | FlaggedToken;

/** The text of a special token. */
export const textOf = (token: SpecialToken): string => (typeof token === "string" ? token : token.content);

/** A JSON object. */
export type Fields = Readonly<Record<string, unknown>>;

/** Whether a value is a JSON object. */
export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The names that every tokenizer has, in transformers' order. */
const NAMED: readonly string[] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

const FLAGS = ["single_word", "lstrip", "rstrip", "normalized", "special"] as const;

/** A token with its flags, from JSON. Throws UserError that names the field. */
function tokenOf(fields: Fields, special: boolean | null, where: string, field: string): FlaggedToken {
  const fail = (name: string): never => {
    throw new UserError("an added token is not as transformers takes it", { file: where, field: `${field}.${name}` });
  };
  const { content } = fields;
  if (typeof content !== "string") return fail("content");
  for (const [name, value] of Object.entries(fields))
    if (name !== "content" && name !== "__type" && (!FLAGS.some((flag) => flag === name) || typeof value !== "boolean")) fail(name);
  const isSpecial = special ?? fields["special"] === true;
  const flag = (name: string, fallback: boolean): boolean => (fields[name] as boolean | undefined) ?? fallback;
  const flags = { single_word: flag("single_word", false), lstrip: flag("lstrip", false), rstrip: flag("rstrip", false) };
  return { content, ...flags, normalized: (fields["normalized"] as boolean | undefined) ?? null, special: isSpecial };
}

/** The files that name tokens; null: there is none. */
export interface TokenFiles {
  readonly tokenizerConfig: Fields;
  readonly specialTokensMap: Fields | null;
  readonly addedTokens: Fields | null;
  /** those of tokenizer.json by their ids */
  readonly ofTokenizerJson: ReadonlyMap<number, AddedToken>;
}

/** What the files say of tokens. */
export interface GatheredTokens {
  /** added tokens by the ids that the files give them, in order of id */
  readonly added: ReadonlyMap<number, FlaggedToken>;
  /** by name, in transformers' order; null: named as none */
  readonly special: ReadonlyMap<string, SpecialToken | null>;
  /** special tokens without a name */
  readonly extra: readonly SpecialToken[];
}

const CONFIG = "tokenizer_config.json";
const MAP = "special_tokens_map.json";

/** Gathers them: the added_tokens_decoder of tokenizer_config.json stands in for the older files and for tokenizer.json's own. Throws UserError that names the field. */
export function gatherTokens({ tokenizerConfig, specialTokensMap, addedTokens, ofTokenizerJson }: TokenFiles): GatheredTokens {
  const values: Record<string, unknown> = { ...tokenizerConfig };
  if ("additional_special_tokens" in values && isEmpty(values["extra_special_tokens"])) {
    values["extra_special_tokens"] = values["additional_special_tokens"];
    delete values["additional_special_tokens"];
  }
  // texts under names that transformers doesn't know come after tokens with flags
  const unnamed = new Map<string, SpecialToken>();
  for (const [name, value] of Object.entries(values))
    if (!NAMED.includes(name) && name.endsWith("_token") && typeof value === "string") {
      unnamed.set(name, value);
      delete values[name];
    }
  const takeNamed = (): void => {
    const extra = values["extra_special_tokens"];
    if (!isFields(extra)) return;
    for (const [name, value] of Object.entries(extra)) unnamed.set(name, specialToken(value, `extra_special_tokens.${name}`));
    delete values["extra_special_tokens"];
  };
  takeNamed();
  const added = new Map<number, FlaggedToken>();
  const decoder = values["added_tokens_decoder"];
  if ("added_tokens_decoder" in values) {
    if (!isFields(decoder)) throw new UserError("added tokens must be an object", { file: CONFIG, field: "added_tokens_decoder" });
    for (const [id, token] of Object.entries(decoder)) {
      const field = `added_tokens_decoder.${id}`;
      if (!/^\d+$/.test(id) || !isFields(token))
        throw new UserError("an added token is not an object under its id", { file: CONFIG, field });
      added.set(Number(id), tokenOf(token, null, CONFIG, field));
    }
  } else {
    const named = readSpecialTokensMap(specialTokensMap ?? {}, values);
    takeNamed();
    const special = specialTexts(values, named);
    for (const [token, id] of Object.entries(addedTokens ?? {})) {
      if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0)
        throw new UserError("an added token has no id", { file: "added_tokens.json", field: token, got: JSON.stringify(id) });
      const isSpecial = special.has(token);
      added.set(id, { content: token, single_word: false, lstrip: false, rstrip: false, normalized: !isSpecial, special: isSpecial });
    }
    for (const [id, token] of ofTokenizerJson) added.set(id, token);
  }
  const byText = new Map([...added.values()].map((token) => [token.content, token]));
  const named = new Map<string, SpecialToken | null>();
  const others = new Map<string, SpecialToken>();
  for (const [name, value] of Object.entries(values)) {
    const isNamed = NAMED.includes(name);
    // what else has such a name, as add_bos_token has, is no token
    const isToken = isNamed || (name.endsWith("_token") && (typeof value === "string" || isAddedToken(value)));
    if (!isToken) continue;
    const token = value === null ? null : specialToken(value, name);
    // a name that transformers doesn't know keeps the token as it stands there
    if (!isNamed) others.set(name, token!);
    else named.set(name, token === null ? null : (byText.get(textOf(token)) ?? token));
  }
  const extra = values["extra_special_tokens"] ?? ("extra_special_tokens" in values ? null : values["additional_special_tokens"]);
  if (extra != null && !Array.isArray(extra))
    throw new UserError("extra special tokens must be a list or an object", { file: CONFIG, field: "extra_special_tokens" });
  const inOrder = NAMED.filter((name) => named.has(name)).map((name) => [name, named.get(name)!] as const);
  return {
    added: new Map([...added].sort(([a], [b]) => a - b)),
    special: new Map<string, SpecialToken | null>([...inOrder, ...others, ...unnamed]),
    extra: Array.isArray(extra) ? extra.map((value, index) => specialToken(value, `extra_special_tokens.${index}`)) : [],
  };
}

function isAddedToken(value: unknown): value is Fields {
  return isFields(value) && value["__type"] === "AddedToken";
}

function isEmpty(value: unknown): boolean {
  return value == null || (typeof value === "object" && Object.keys(value).length === 0);
}

/** Puts what special_tokens_map.json says in the place of what tokenizer_config.json says. Returns the names of tokens that have flags there. */
function readSpecialTokensMap(map: Fields, values: Record<string, unknown>): ReadonlySet<string> {
  const named = new Set<string>();
  const flagged = (token: Fields, field: string): Fields => {
    const { normalized, ...flags } = tokenOf(token, true, MAP, field);
    return { __type: "AddedToken", ...flags, normalized: normalized ?? false };
  };
  for (const [name, value] of Object.entries(map)) {
    // transformers would take it for a setting
    if (
      !NAMED.includes(name) &&
      !["extra_special_tokens", "additional_special_tokens"].includes(name) &&
      (!name.endsWith("_token") || typeof value !== "string")
    )
      throw new UserError("a field of special_tokens_map.json is not the name of a token that Roslin knows", { file: MAP, field: name });
    if (name === "extra_special_tokens" && Array.isArray(value)) {
      const known = (values[name] as readonly unknown[] | undefined) ?? [];
      const more = (value as readonly unknown[]).map((token, index) => (isFields(token) ? flagged(token, `${name}.${index}`) : token));
      values[name] = [...known, ...more.filter((token) => !known.includes(token))];
    } else if (isFields(value) && name !== "extra_special_tokens") {
      values[name] = flagged(value, name);
      named.add(name);
    } else values[name] = value;
  }
  return named;
}

/**
 * The texts that are special among those of added_tokens.json. `named`: the tokens whose flags count here; transformers doesn't
 * look into the flags that tokenizer_config.json gives.
 */
function specialTexts(values: Fields, named: ReadonlySet<string>): ReadonlySet<string> {
  const extra = values["extra_special_tokens"];
  const texts = NAMED.map((name) => {
    const value = values[name];
    return isFields(value) && named.has(name) ? value["content"] : value;
  });
  return new Set([...texts, ...(Array.isArray(extra) ? (extra as readonly unknown[]) : [])].filter((text) => typeof text === "string"));
}

function specialToken(value: unknown, field: string): SpecialToken {
  if (typeof value === "string") return value;
  if (isAddedToken(value)) return tokenOf(value, null, CONFIG, field);
  throw new UserError("a special token is neither a text nor an AddedToken, so transformers doesn't take it", {
    file: CONFIG,
    field,
    got: JSON.stringify(value),
  });
}
