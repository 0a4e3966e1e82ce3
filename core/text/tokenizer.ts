import { UserError } from "../errors.js";
import { MergeTable } from "./bpe.js";
import { bytesOfSymbols, SYMBOL_OF_BYTE } from "./byte-symbols.js";
import { createEncoder, type Encoder, type EncoderTables } from "./encoder.js";
import { parseTokenizerJson, type TokenizerJson } from "./tokenizer-json.js";

/** The decoding half of a byte-level BPE tokenizer: token ids to texts. */
export interface Decoder {
  /** Text of ids. An id without a token gives no text; bytes that are not UTF-8 become U+FFFD. */
  decode(ids: ArrayLike<number>): string;
  /** Decodes ids one by one. Each call returns the characters that are complete by now; a call without an id returns the rest. */
  stream(): (id?: number) => string;
}

/** A byte-level BPE tokenizer, as GPT-2 and GPT-J use it. */
export interface Tokenizer extends Encoder, Decoder {
  /** Id of an added token or vocabulary entry, by its text. */
  idOf(token: string): number | undefined;
  /** From these `createEncoder` makes an equal encoder. */
  readonly tables: EncoderTables;
}

/** Makes a tokenizer from a parsed tokenizer.json. Throws UserError if it is of another kind. `where`: the file's name. */
export function createTokenizer(json: unknown, where: string): Tokenizer {
  const parsed = parseTokenizerJson(json, where);
  const vocabulary = new Map(Object.entries(parsed.model.vocab));
  const added = new Map(parsed.added_tokens.map(({ content, id }) => [content, id]));
  const unknown = parsed.model.unk_token == null ? undefined : vocabulary.get(parsed.model.unk_token);
  const tables: EncoderTables = {
    idOfByte: Int32Array.from(SYMBOL_OF_BYTE, (symbol) => vocabulary.get(symbol) ?? unknown ?? -1),
    merges: mergeTable(parsed, vocabulary, where).slots,
    added: [...added],
  };
  const bytesOf = tokenBytes(vocabulary, added);
  const stream = (): ((id?: number) => string) => {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return (id) => (id === undefined ? decoder.decode() : decoder.decode(bytesOf(id), { stream: true }));
  };

  return {
    ...createEncoder(tables),
    decode(ids) {
      const next = stream();
      return Array.from(ids, (id) => next(id)).join("") + next();
    },
    stream,
    tables,
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
  const table = MergeTable.empty(model.merges.length);
  model.merges.forEach((merge, rank) => {
    const [left, right] = typeof merge === "string" ? (merge.split(" ") as [string, string]) : merge;
    table.add(id(left, rank), id(right, rank), id(left + right, rank));
  });
  return table;
}

/** Bytes of a token by its id; empty if no token has it. They are made when first asked for, because encoding needs few. */
function tokenBytes(vocabulary: ReadonlyMap<string, number>, added: ReadonlyMap<string, number>): (id: number) => Uint8Array {
  const tokens: string[] = [];
  for (const [token, id] of vocabulary) tokens[id] = token;
  const bytes: Uint8Array[] = [];
  for (const [token, id] of added) bytes[id] = new TextEncoder().encode(token);
  return (id) => (bytes[id] ??= bytesOfSymbols(tokens[id] ?? ""));
}
