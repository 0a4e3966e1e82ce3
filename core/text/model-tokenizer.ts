import { UserError } from "../errors.js";
import type { Around } from "./around.js";
import { gatherTokens, isFields, textOf, type Fields, type GatheredTokens, type SpecialToken } from "./special-tokens.js";
import { CONFIG, FILE, flagOf, prefixSpaceOf, rebuiltJson, type AnyTokenizerJson } from "./rebuilt-json.js";
import { createSentencePiece } from "./sentencepiece.js";
import { isSentencePiece, parseSentencePieceJson } from "./sentencepiece-json.js";
import type { CompilePattern } from "./split-patterns.js";
import { tokenizerClass, type RebuiltClass } from "./tokenizer-class.js";
import { addedToken, parseTokenizerJson, type AddedToken } from "./tokenizer-json.js";
import { createTokenizer, type Tokenizer } from "./tokenizer.js";

/**
 * A model's tokenizer with the ids that AutoTokenizer of transformers 5 gives. Some of its classes replace parts of
 * tokenizer.json by others that no file asks for, so the ids of the two differ: that is said, or the model is refused with the
 * field's name.
 */

/** The tokenizer of a model's directory, with what the files beside it say of its special tokens. */
export interface ModelTokenizer extends Tokenizer {
  /** texts of the special tokens; null: it has none */
  readonly bosToken: string | null;
  readonly eosToken: string | null;
  /** texts of all special tokens that transformers gives to templates, by name */
  readonly named: Readonly<Record<string, string>>;
  /** the Jinja template of conversations; null: the model has none */
  readonly chatTemplate: string | null;
  /** How its ids differ from those of tokenizer.json, because transformers builds the tokenizer by itself; null: they don't on any text of a probe. */
  difference(this: void): string | null;
}

/** The contents of a model's files; null: there is none. */
export interface TokenizerFiles {
  readonly config: unknown;
  readonly tokenizerConfig: unknown;
  readonly tokenizerJson: unknown;
  readonly specialTokensMap: unknown;
  readonly addedTokens: unknown;
  readonly vocabulary: unknown;
  /** text of merges.txt */
  readonly merges: string | null;
  /** text of chat_template.jinja */
  readonly chatTemplate: string | null;
}

/** Fields of tokenizer_config.json that would change the ids: transformers takes them for its own, or other files or code for the tokenizer. */
const REFUSED_FIELDS: readonly string[] = [
  "init_inputs",
  "auto_map",
  "fast_tokenizer_files",
  "vocab",
  "merges",
  "tokenizer_object",
  "post_processor",
  "tokenizer_padding",
  "tokenizer_truncation",
  "model_specific_special_tokens",
  "gguf_file",
];

/** Makes a model's tokenizer of its files. `family`: the class of transformers for its family, null for tokenizer.json as it is. Throws UserError that names the first field that Roslin doesn't carry out. */
export function createModelTokenizer(files: TokenizerFiles, family: string | null, compile: CompilePattern): ModelTokenizer {
  const config = fieldsOf(files.tokenizerConfig, CONFIG);
  for (const name of REFUSED_FIELDS)
    if (config[name] != null && !(Array.isArray(config[name]) && config[name].length === 0))
      throw new UserError("this tokenizer_config.json has what Roslin doesn't carry out", { file: CONFIG, field: name });
  const model = fieldsOf(files.config, "config.json");
  const parsed =
    files.tokenizerJson === null
      ? null
      : (isSentencePiece(files.tokenizerJson) ? parseSentencePieceJson : parseTokenizerJson)(files.tokenizerJson, FILE);
  const own = parsed?.added_tokens.map((token) => [token.id, addedToken(token)] as const) ?? [];
  const gathered = gatherTokens({
    tokenizerConfig: config,
    specialTokensMap: files.specialTokensMap === null ? null : fieldsOf(files.specialTokensMap, "special_tokens_map.json"),
    addedTokens: files.addedTokens === null ? null : fieldsOf(files.addedTokens, "added_tokens.json"),
    ofTokenizerJson: new Map(own),
  });
  const rebuilt = tokenizerClass({
    modelType: model["model_type"],
    family,
    named: config["tokenizer_class"] ?? model["tokenizer_class"] ?? undefined,
    hasByteLevel: () => JSON.stringify(files.tokenizerJson).includes('"ByteLevel"'),
    where: config["tokenizer_class"] == null ? "config.json" : CONFIG,
  });
  const special = specialTokens(gathered, rebuilt, parsed);
  const tokens = tokensToAdd(gathered, special, rebuilt === null ? own.map(([, token]) => token) : []);
  if (rebuilt?.addsSpecialAgain === true)
    tokens.push(...[...special.values(), ...gathered.extra].flatMap((token) => (token === null ? [] : [specialOf(textOf(token))])));
  const additions = { tokens, splitSpecial: flagOf(config, "split_special_tokens") ?? false };
  const create = (json: unknown, where: string): Tokenizer =>
    isSentencePiece(json) ? createSentencePiece(json, where, additions) : createTokenizer(json, where, additions, compile);
  const { json, isChanged } =
    parsed === null
      ? { json: jsonOfVocabulary(files, rebuilt, config), isChanged: false }
      : rebuilt === null
        ? { json: files.tokenizerJson, isChanged: false }
        : rebuiltJson(parsed, rebuilt, config);
  const tokenizer = create(json, parsed === null ? "vocab.json" : FILE);
  for (const [id, { content }] of gathered.added)
    if (tokenizer.idOf(content) !== id)
      throw new UserError("an added token gets another id in transformers than the files say", {
        token: content,
        files: id,
        transformers: tokenizer.idOf(content),
      });
  const [bosToken, eosToken] = ["bos_token", "eos_token"].map((name) => {
    const token = special.get(name);
    return token == null ? null : textOf(token);
  }) as [string | null, string | null];
  const named = Object.fromEntries(
    [...special].flatMap(([name, token]) => (token !== null && ORDER.includes(name) ? [[name, textOf(token)]] : [])),
  );
  // beside a tokenizer.json, whose post-processor counts, transformers leaves these two out
  const around = parsed === null ? aroundBy(config, bosToken, eosToken, tokenizer) : tokenizer.around;
  const chatTemplate = files.chatTemplate ?? templateOf(config["chat_template"]);
  const difference = (): string | null => (isChanged ? differenceOf(() => create(files.tokenizerJson, FILE), tokenizer, rebuilt!) : null);
  return { ...tokenizer, around, bosToken, eosToken, named, chatTemplate, difference };
}

function fieldsOf(json: unknown, file: string): Fields {
  if (json !== null && !isFields(json)) throw new UserError("a file of the model must be a JSON object", { file });
  return json ?? {};
}

/** Special tokens by name, with what the class itself names. */
function specialTokens(
  gathered: GatheredTokens,
  rebuilt: RebuiltClass | null,
  parsed: AnyTokenizerJson | null,
): ReadonlyMap<string, SpecialToken | null> {
  // a class of byte-level BPE names its padding token itself, or says that it has none
  const padding = rebuilt?.kind !== "byte-level" && parsed?.padding != null ? { pad_token: parsed.padding.pad_token } : {};
  const defaults = Object.entries<SpecialToken>({ ...padding, ...rebuilt?.defaults });
  return new Map([...gathered.special, ...defaults.filter(([name]) => !gathered.special.has(name))]);
}

const specialOf = (content: string): AddedToken => ({
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

/** Names in the order in which transformers adds their tokens. */
const ORDER: readonly string[] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/** The tokens that transformers adds to those that the tokenizer has by itself. */
function tokensToAdd(
  { added, extra }: GatheredTokens,
  special: ReadonlyMap<string, SpecialToken | null>,
  own: readonly AddedToken[],
): AddedToken[] {
  const place = (name: string): number => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  const named = [...special].sort(([a], [b]) => place(a) - place(b)).flatMap(([, token]) => (token === null ? [] : [token]));
  const same = (a: SpecialToken, b: SpecialToken): boolean => JSON.stringify(a) === JSON.stringify(b);
  const tokens: SpecialToken[] = [...added.values()];
  const known = new Set([...own, ...tokens].map(textOf));
  for (const token of [...named, ...extra])
    if (!known.has(textOf(token)) && !tokens.some((other) => same(other, token))) tokens.push(token);
  const names = new Set(named.map(textOf));
  return tokens.map((token) => {
    if (typeof token === "string") return specialOf(token);
    const isSpecial = token.special || names.has(token.content);
    return { ...token, special: isSpecial, normalized: token.normalized ?? !isSpecial };
  });
}

function jsonOfVocabulary({ vocabulary, merges }: TokenizerFiles, rebuilt: RebuiltClass | null, config: Fields): unknown {
  if (vocabulary === null || merges === null) throw new Error("a model without a tokenizer");
  if (rebuilt?.kind !== "byte-level")
    throw new UserError("this tokenizer class of transformers reads no vocab.json and merges.txt: it needs tokenizer.json", {
      file: CONFIG,
      field: "tokenizer_class",
    });
  const lines = merges.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  return {
    normalizer: rebuilt.normalizer,
    pre_tokenizer: rebuilt.preTokenizer(prefixSpaceOf(config, rebuilt) ?? false),
    model: { type: "BPE", vocab: vocabulary, merges: lines.filter((line) => !line.startsWith("#version")) },
  };
}

function aroundBy(config: Fields, bosToken: string | null, eosToken: string | null, tokenizer: Tokenizer): Around {
  const ids = (field: string, token: string | null): number[] =>
    flagOf(config, field) === true && token !== null ? [tokenizer.idOf(token)!] : [];
  return { before: ids("add_bos_token", bosToken), after: ids("add_eos_token", eosToken) };
}

/** The template itself, or of a list of named ones that for everything; null: there is none. */
function templateOf(template: unknown): string | null {
  if (typeof template === "string") return template;
  const named = isFields(template) ? Object.entries(template).map(([name, text]) => ({ name, template: text })) : template;
  if (!Array.isArray(named)) return null;
  const found = (named as readonly unknown[]).find((each) => isFields(each) && each["name"] === "default") as Fields | undefined;
  return typeof found?.["template"] === "string" ? found["template"] : null;
}

/** Texts on which two readings of one tokenizer would differ. */
const PROBE: readonly string[] = [
  "the first",
  " one blank",
  "  two  blanks   and three",
  "a line\nanother\n\n\tand a third  \n",
  "12 345  6.7",
  "café Cafe\u0301 ﬁne",
  "日本語 🙂",
];

/** The first difference between what tokenizer.json says and what a class of transformers makes of it; null: the probe shows none. */
function differenceOf(open: () => Tokenizer, built: Tokenizer, { name, advice }: RebuiltClass): string | null {
  let file: Tokenizer;
  try {
    file = open();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return `token ids are those of transformers' ${name}, and tokenizer.json by itself could not be read: ${error.message}`;
  }
  const special = file.tables.added.slice(0, 8).flatMap(({ content }) => [`${content}a`, `a ${content} b`]);
  for (const text of [...PROBE, ...special]) {
    const [ofFile, ofBuilt] = [file, built].map(({ encode, around }) => [...around.before, ...encode(text), ...around.after].join(" "));
    if (ofFile !== ofBuilt)
      return `token ids are those of transformers' ${name}, which are not everywhere those of tokenizer.json: ${JSON.stringify(text)} is ${ofBuilt} and not ${ofFile}; ${advice}`;
  }
  return null;
}
