import { UserError } from "../errors.js";
import { MergeTable, mergeWord } from "./bpe.js";
import { bytesOfSymbols, SYMBOL_OF_BYTE } from "./byte-symbols.js";
import { parseTokenizerJson, type TokenizerJson } from "./tokenizer-json.js";
import { WordCache } from "./word-cache.js";
import { wordEnd } from "./words.js";

/** Byte-level BPE, as GPT-2 and GPT-J have it. */
export interface Tokenizer {
  /** Ids of a text; nothing is added at its ends, and added tokens in it, such as <|endoftext|>, are found. */
  encode(text: string): number[];
  /** Text of ids; ids without a token say nothing, bytes that are no UTF-8 become U+FFFD. */
  decode(ids: ArrayLike<number>): string;
  /** Decodes ids as they come: each call returns the characters that are whole by now; without an id, what is left over. */
  stream(): (id?: number) => string;
  /** The added tokens' texts. */
  readonly added: readonly string[];
  /** Id of an added token or vocabulary entry, by its text. */
  idOf(token: string): number | undefined;
}

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
  const cache = new WordCache();

  const idsOfWord = (word: string): readonly number[] => {
    // a byte that the vocabulary lacks is left out, as the Hugging Face library does
    const symbols: number[] = [];
    for (const byte of utf8.encode(word)) {
      const id = idOfByte[byte];
      if (id !== undefined) symbols.push(id);
    }
    return mergeWord(symbols, merges);
  };

  let units = new Uint16Array(1 << 12);
  const addWords = (text: string, ids: number[]): void => {
    if (text.length > units.length) units = new Uint16Array(text.length * 2);
    for (let at = 0; at < text.length; at++) units[at] = text.charCodeAt(at);
    for (let start = 0; start < text.length;) {
      const end = wordEnd(units, start, text.length);
      if (!cache.append(units, start, end, ids)) {
        const made = idsOfWord(text.slice(start, end));
        cache.add(units, start, end, made);
        for (const id of made) ids.push(id);
      }
      start = end;
    }
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
        else addWords(part, ids);
      }
      return ids;
    },
    decode(ids) {
      const next = stream();
      return Array.from(ids, (id) => next(id)).join("") + next();
    },
    stream,
    added: [...added.keys()],
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
