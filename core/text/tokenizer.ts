import { UserError } from "../errors.js";
import { AddedVocabulary } from "./added-tokens.js";
import { aroundOf, type Around } from "./around.js";
import { MergeTable } from "./bpe.js";
import { bytesOfSymbols, SYMBOL_OF_BYTE } from "./byte-symbols.js";
import { createByteLevelEncoder, type ByteLevelTables, type Encoder } from "./encoder.js";
import type { EncoderTables } from "./open-encoder.js";
import { compilable, SPLIT_PATTERNS, type CompilePattern } from "./split-patterns.js";
import { addedToken, parseTokenizerJson, type AddedToken, type TokenizerJson } from "./tokenizer-json.js";
import { normalize, RUST_NUMBER, type Normalizer } from "./unicode.js";

/** The decoding half of a tokenizer: token ids to texts. */
export interface Decoder {
  /** Text of ids. An id without a token gives no text; bytes that are not UTF-8 become U+FFFD. */
  decode(ids: ArrayLike<number>): string;
  /** Decodes ids one by one. Each call returns the characters that are complete by now; a call without an id returns the rest. */
  stream(): (id?: number) => string;
}

/** A tokenizer, of whatever kind. */
export interface Tokenizer extends Encoder, Decoder {
  /** Id of an added token or vocabulary entry, by its text. */
  idOf(token: string): number | undefined;
  /** From these `openEncoder` makes an equal encoder. */
  readonly tables: EncoderTables;
  /** ids that it puts around a text by itself, such as BOS */
  readonly around: Around;
}

/** What other files of a model say beside its tokenizer.json. */
export interface TokenizerAdditions {
  /** tokens that are added after the file's own */
  readonly tokens: readonly AddedToken[];
  /** special tokens in a text are text */
  readonly splitSpecial: boolean;
}

/** Makes the decoding half from a function that starts a text: what that returns gives the bytes of the text's tokens, one after the other. */
export function decodeBy(start: () => (id: number) => Uint8Array): Decoder {
  const stream = (): ((id?: number) => string) => {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const bytesOf = start();
    return (id) => (id === undefined ? decoder.decode() : decoder.decode(bytesOf(id), { stream: true }));
  };
  return {
    decode(ids) {
      const next = stream();
      return Array.from(ids, (id) => next(id)).join("") + next();
    },
    stream,
  };
}

/**
 * Makes a byte-level BPE tokenizer from a parsed tokenizer.json. Throws UserError that names the first field that Roslin
 * doesn't carry out. `where`: the file's name; `compile`: for regular expressions other than those of GPT-2, Llama 3 and Qwen 2.
 */
export function createTokenizer(
  json: unknown,
  where: string,
  { tokens, splitSpecial }: TokenizerAdditions = { tokens: [], splitSpecial: false },
  compile: CompilePattern = () => null,
): Tokenizer {
  const parsed = parseTokenizerJson(json, where);
  const fail = (field: string, problem: string): never => {
    throw new UserError("this tokenizer.json has what Roslin doesn't carry out", { file: where, field, problem });
  };
  const { model } = parsed;
  const vocabulary = new Map(Object.entries(model.vocab));
  const merges = mergeTable(model.merges, vocabulary, where).slots;
  const normalizers = normalizersOf(parsed);
  const added = new AddedVocabulary(vocabulary);
  added.add(parsed.added_tokens.map(addedToken));
  added.add(tokens);
  added.check(parsed.added_tokens, (text) => normalizers.reduce(normalize, text), where);

  const unknown = model.unk_token == null ? undefined : vocabulary.get(model.unk_token);
  if (SYMBOL_OF_BYTE.some((symbol) => !vocabulary.has(symbol)) && model.unk_token != null) {
    if (unknown === undefined) fail("model.unk_token", "it is not in the vocabulary, which lacks bytes");
    if (model.fuse_unk === true) fail("model.fuse_unk", "the vocabulary lacks bytes, and several unknown ones would become one token");
  }
  const tables: ByteLevelTables = {
    kind: "byte-level",
    idOfByte: Int32Array.from(SYMBOL_OF_BYTE, (symbol) => vocabulary.get(symbol) ?? unknown ?? -1),
    merges,
    added: added.list(),
    splitSpecial,
    normalizers,
    ...wordRule(parsed, compile, fail),
    wholeWords: model.ignore_merges === true ? vocabulary : null,
  };
  const bytesOf = tokenBytes(vocabulary, added);
  return {
    ...createByteLevelEncoder(tables),
    ...decodeBy(() => bytesOf),
    tables,
    around: aroundOf(parsed.post_processor, where),
    idOf: (token) => added.idOf(token),
  };
}

function normalizersOf({ normalizer }: TokenizerJson): readonly Normalizer[] {
  if (normalizer == null) return [];
  return normalizer.type === "Sequence" ? normalizer.normalizers.map(({ type }) => type) : [normalizer.type];
}

type WordRule = Pick<ByteLevelTables, "patterns" | "prefixSpace" | "gpt2Words">;

function wordRule({ pre_tokenizer }: TokenizerJson, compile: CompilePattern, fail: (field: string, problem: string) => never): WordRule {
  const steps = pre_tokenizer.type === "Sequence" ? pre_tokenizer.pretokenizers : [pre_tokenizer];
  const last = steps.at(-1);
  if (last?.type !== "ByteLevel") return fail("pre_tokenizer", "its last step is not ByteLevel, so words are not bytes");
  const patterns = steps.slice(0, -1).map((step, index) => {
    const field = `pre_tokenizer.pretokenizers.${index}`;
    if (step.type === "ByteLevel") return fail(field, "a second ByteLevel");
    if (step.type === "Digits") return new RegExp(`[${RUST_NUMBER}]${step.individual_digits ? "" : "+"}`, "gu");
    const { Regex } = step.pattern;
    const known = SPLIT_PATTERNS[Regex];
    if (step.behavior === "Removed" && (known === undefined || !step.invert)) return fail(`${field}.behavior`, "it removes part of a text");
    if (known !== undefined) return known;
    if (step.invert) return fail(`${field}.invert`, "a regular expression whose matches are left out of words");
    return compilable(Regex) ? (compile(Regex) ?? fail(`${field}.pattern.Regex`, UNREADABLE)) : fail(`${field}.pattern.Regex`, UNREADABLE);
  });
  return { patterns, prefixSpace: last.add_prefix_space, gpt2Words: last.use_regex ?? true };
}

const UNREADABLE = "a regular expression that Roslin doesn't carry out";

/** The merges of a model's file by ids. Throws UserError if one names a token that the vocabulary lacks. */
export function mergeTable(merges: TokenizerJson["model"]["merges"], vocabulary: ReadonlyMap<string, number>, where: string): MergeTable {
  const id = (token: string, merge: number): number => {
    const found = vocabulary.get(token);
    if (found === undefined)
      throw new UserError("a merge of the tokenizer names a token that the vocabulary lacks", { file: where, merge, token });
    return found;
  };
  const table = MergeTable.empty(merges.length);
  merges.forEach((merge, rank) => {
    const [left, right] = typeof merge === "string" ? (merge.split(" ") as [string, string]) : merge;
    table.add(id(left, rank), id(right, rank), id(left + right, rank));
  });
  return table;
}

/** Bytes of a token by its id; empty if no token has it. They are made when first asked for, because encoding needs few. */
function tokenBytes(vocabulary: ReadonlyMap<string, number>, added: AddedVocabulary): (id: number) => Uint8Array {
  const tokens: string[] = [];
  for (const [token, id] of vocabulary) tokens[id] = token;
  const bytes: Uint8Array[] = [];
  for (const { content, id } of added.list()) bytes[id] = new TextEncoder().encode(content);
  return (id) => (bytes[id] ??= bytesOfSymbols(tokens[id] ?? ""));
}
