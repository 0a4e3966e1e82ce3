import { UserError } from "../errors.js";
import { MergeTable, mergeWord } from "./bpe.js";
import { bytesOfSymbols, SYMBOL_OF_BYTE } from "./byte-symbols.js";
import { parseTokenizerJson, type TokenizerJson } from "./tokenizer-json.js";

/** Byte-level BPE, as GPT-2 and GPT-J have it. */
export interface Tokenizer {
  /** Ids of a text; nothing is added at its ends, and added tokens in it, such as <|endoftext|>, are found. */
  encode(text: string): number[];
  /** Text of ids; ids without a token say nothing, bytes that are no UTF-8 become U+FFFD. */
  decode(ids: ArrayLike<number>): string;
  /** Decodes ids as they come: each call returns the characters that are whole by now; without an id, what is left over. */
  stream(): (id?: number) => string;
  /** Id of an added token or vocabulary entry, by its text. */
  idOf(token: string): number | undefined;
}

/** GPT-2's split into words. JavaScript's \s has U+FEFF and lacks U+0085, so White_Space is named. */
const WORDS =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Words kept with their ids; all are forgotten when there are so many. */
const CACHE_WORDS = 1 << 17;
/** UTF-16 units of the longest word that is kept. */
const CACHE_LENGTH = 64;

/** Makes a tokenizer of a parsed tokenizer.json; UserError when it is of another kind. `where` is the file's name. */
export function createTokenizer(json: unknown, where: string): Tokenizer {
  const parsed = parseTokenizerJson(json, where);
  const vocabulary = new Map(Object.entries(parsed.model.vocab));
  const added = new Map(parsed.added_tokens.map(({ content, id }) => [content, id]));
  const merges = mergeTable(parsed, vocabulary, where);
  const unknown = parsed.model.unk_token == null ? undefined : vocabulary.get(parsed.model.unk_token);
  const idOfByte = SYMBOL_OF_BYTE.map((symbol) => vocabulary.get(symbol) ?? unknown);
  const bytesOf = tokenBytes(vocabulary, added);
  const separators = separatorPattern([...added.keys()]);
  const utf8 = new TextEncoder();
  const cache = new Map<string, readonly number[]>();

  const idsOfWord = (word: string): readonly number[] => {
    const known = cache.get(word);
    if (known !== undefined) return known;
    // a byte that the vocabulary lacks is left out, as the Hugging Face library does
    const symbols = Array.from(utf8.encode(word), (byte) => idOfByte[byte]).filter((id) => id !== undefined);
    const ids = mergeWord(symbols, merges);
    if (word.length <= CACHE_LENGTH) {
      if (cache.size >= CACHE_WORDS) cache.clear();
      cache.set(word, ids);
    }
    return ids;
  };

  const stream = (): ((id?: number) => string) => {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return (id) => (id === undefined ? decoder.decode() : decoder.decode(bytesOf[id] ?? new Uint8Array(0), { stream: true }));
  };

  return {
    encode(text) {
      const ids: number[] = [];
      for (const part of separators === null ? [text] : text.split(separators)) {
        const addedId = added.get(part);
        if (addedId !== undefined) ids.push(addedId);
        else for (const word of part.match(WORDS) ?? []) for (const id of idsOfWord(word)) ids.push(id);
      }
      return ids;
    },
    decode(ids) {
      const next = stream();
      return Array.from(ids, (id) => next(id)).join("") + next();
    },
    stream,
    idOf: (token) => added.get(token) ?? vocabulary.get(token),
  };
}

function mergeTable({ model }: TokenizerJson, vocabulary: ReadonlyMap<string, number>, where: string): MergeTable {
  const id = (token: string, merge: number): number => {
    const found = vocabulary.get(token);
    if (found === undefined)
      throw new UserError("a merge in tokenizer.json names a token that the vocabulary lacks", { file: where, merge, token });
    return found;
  };
  return new MergeTable(
    model.merges.map((merge, index) => {
      const [left, right] = typeof merge === "string" ? (merge.split(" ") as [string, string]) : merge;
      return [id(left, index), id(right, index), id(left + right, index)] as const;
    }),
  );
}

/** [id] the bytes of each token; holes where no token has the id. */
function tokenBytes(vocabulary: ReadonlyMap<string, number>, added: ReadonlyMap<string, number>): readonly (Uint8Array | undefined)[] {
  const bytes: (Uint8Array | undefined)[] = [];
  for (const [token, id] of vocabulary) bytes[id] = bytesOfSymbols(token);
  for (const [token, id] of added) bytes[id] = new TextEncoder().encode(token);
  return bytes;
}

/** Finds added tokens, longer ones first; null when there are none. */
function separatorPattern(tokens: readonly string[]): RegExp | null {
  if (tokens.length === 0) return null;
  const longestFirst = [...tokens].sort((a, b) => b.length - a.length);
  return new RegExp(`(${longestFirst.map((token) => token.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")).join("|")})`);
}
