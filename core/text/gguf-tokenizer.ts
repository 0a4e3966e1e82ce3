import { UserError } from "../errors.js";
import { SYMBOL_OF_BYTE, symbolsOfBytes } from "./byte-symbols.js";
import { mergesOfScores } from "./gguf-merges.js";
import { GGUF_WORDS, type GgufWords } from "./gguf-words.js";

/** A GGUF's tokenizer as Hugging Face's files. */

/** What a GGUF says of its tokenizer. */
export interface GgufVocabulary {
  /** `gpt2`: byte-level BPE; `llama`: SentencePiece's BPE */
  readonly model: string;
  /** llama.cpp's name of how a byte-level tokenizer splits texts; null: the file doesn't say */
  readonly words: string | null;
  readonly tokens: readonly string[];
  /** of each token */
  readonly types: ArrayLike<number>;
  readonly scores: ArrayLike<number> | null;
  /** "left right" each; null: the file has none */
  readonly merges: readonly string[] | null;
  /** ids of the special tokens; null: the file names none */
  readonly special: Readonly<Record<SpecialName, number | null>>;
  /** whether BOS and EOS are put around a text, and a space before it; null: the file doesn't say */
  readonly addBos: boolean | null;
  readonly addEos: boolean | null;
  readonly prefixSpace: boolean | null;
}

/** A special token by its name in tokenizer_config.json. */
export type SpecialName = "bos_token" | "eos_token" | "unk_token" | "pad_token";

/** The objects of tokenizer.json and tokenizer_config.json. */
export interface ConvertedTokenizer {
  readonly tokenizerJson: object;
  readonly tokenizerConfig: object;
}

/** llama.cpp's types of tokens that are cut out of a text before it becomes words. */
const CONTROL = 3;
const USER_DEFINED = 4;

const METASPACE = "▁";

/** Makes a GGUF's tokenizer; `positions`: tokens of the longest text. Throws UserError naming the kind that is not read. `where`: the file's name. */
export function convertGgufTokenizer(vocabulary: GgufVocabulary, positions: number, where: string): ConvertedTokenizer {
  const kinds: Readonly<Record<string, (vocabulary: GgufVocabulary, where: string) => Parts>> = { gpt2: byteLevel, llama: sentencePiece };
  const kind = Object.hasOwn(kinds, vocabulary.model) ? kinds[vocabulary.model]! : null;
  if (kind === null)
    throw new UserError("a GGUF has a tokenizer of a kind that is not read", {
      file: where,
      key: "tokenizer.ggml.model",
      expected: Object.keys(kinds).join(" or "),
      got: vocabulary.model,
    });
  const { tokens, types, special, scores } = vocabulary;
  for (const list of [types, scores ?? types])
    if (list.length !== tokens.length)
      throw new UserError("a GGUF's tokens and their types or scores are not equally many", {
        file: where,
        expected: tokens.length,
        got: list.length,
      });
  for (const [name, id] of Object.entries(special))
    if (id !== null && tokens[id] === undefined)
      throw new UserError("a GGUF names a special token that its vocabulary lacks", {
        file: where,
        token: name,
        tokens: tokens.length,
        got: id,
      });
  const { normalizer, preTokenizer, postProcessors, decoder, model, addBos } = kind(vocabulary, where);
  const processors = [...postProcessors, ...around(vocabulary, addBos, where)];
  return {
    tokenizerJson: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: addedTokens(vocabulary, where),
      normalizer,
      pre_tokenizer: preTokenizer,
      post_processor: processors.length > 1 ? { type: "Sequence", processors } : (processors[0] ?? null),
      decoder,
      model: { type: "BPE", dropout: null, continuing_subword_prefix: null, end_of_word_suffix: null, ...model },
    },
    tokenizerConfig: {
      ...Object.fromEntries(Object.entries(special).flatMap(([name, id]) => (id === null ? [] : [[name, tokens[id]!]]))),
      clean_up_tokenization_spaces: false,
      model_max_length: positions,
      // the class that takes tokenizer.json as it is
      tokenizer_class: "PreTrainedTokenizerFast",
    },
  };
}

/** What differs between the kinds. */
interface Parts {
  readonly normalizer: object | null;
  readonly preTokenizer: object;
  readonly postProcessors: readonly object[];
  readonly decoder: object;
  readonly model: object;
  /** whether BOS begins a text if the file doesn't say */
  readonly addBos: boolean;
}

function byteLevel(vocabulary: GgufVocabulary, where: string): Parts {
  const { words: name, merges, tokens, types } = vocabulary;
  const words = GGUF_WORDS.get(name ?? "");
  if (words === undefined) throw unknownWords(name, where);
  if (merges === null) throw new UserError("a GGUF's byte-level tokenizer has no merges", { file: where, key: "tokenizer.ggml.merges" });
  const alphabet = new Set(SYMBOL_OF_BYTE);
  const bytes = new TextEncoder();
  const spelled = tokens.map((token, id) => {
    // those that are cut out of a text stand as they are, all others in the symbols of bytes, and a few files have plain text there
    if (isCutOut(types[id]!) || [...token].every((character) => alphabet.has(character))) return token;
    return symbolsOfBytes(bytes.encode(token));
  });
  const ids = idsOf(spelled, where);
  return {
    normalizer: words.normalizer,
    preTokenizer: words.preTokenizer,
    postProcessors: [{ type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: true }],
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: bpe({ unk_token: null, fuse_unk: false, byte_fallback: false, ignore_merges: words.wholeWords }, ids, pairs(merges, ids, where)),
    addBos: words.addBos,
  };
}

function unknownWords(name: string | null, where: string): UserError {
  return new UserError(
    name === null
      ? "a GGUF doesn't say how its tokenizer splits texts into words: convert the model again with a newer llama.cpp, or get another file"
      : "a GGUF's tokenizer splits texts in a way that is not read: take the model's directory with its own tokenizer.json",
    { file: where, key: "tokenizer.ggml.pre", expected: [...GGUF_WORDS.keys()].join(", "), ...(name === null ? {} : { got: name }) },
  );
}

function sentencePiece(vocabulary: GgufVocabulary, where: string): Parts {
  const { tokens, scores, merges, special, prefixSpace } = vocabulary;
  const ids = idsOf(tokens, where);
  if (merges === null && scores === null)
    throw new UserError("a GGUF's tokenizer has neither merges nor scores", { file: where, key: "tokenizer.ggml.scores" });
  const hasSpace = prefixSpace ?? true;
  const steps = [{ type: "Replace", pattern: { String: METASPACE }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }];
  return {
    normalizer: null,
    preTokenizer: { type: "Metaspace", replacement: METASPACE, prepend_scheme: hasSpace ? "first" : "never", split: false },
    postProcessors: [],
    decoder: { type: "Sequence", decoders: [...steps, ...(hasSpace ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : [])] },
    model: bpe(
      {
        unk_token: special.unk_token === null ? null : tokens[special.unk_token]!,
        fuse_unk: true,
        byte_fallback: true,
        ignore_merges: false,
      },
      ids,
      merges === null ? mergesOfScores(ids, tokens, scores!, where) : pairs(merges, ids, where),
    ),
    addBos: true,
  };
}

function bpe(
  rules: Readonly<Record<string, unknown>>,
  ids: ReadonlyMap<string, number>,
  merges: readonly (readonly [string, string])[],
): object {
  return { ...rules, vocab: Object.fromEntries(ids), merges };
}

/** Ids of tokens, each of which must be there once: a second id would be lost. */
function idsOf(tokens: readonly string[], where: string): Map<string, number> {
  const ids = new Map<string, number>();
  for (const [id, token] of tokens.entries()) {
    if (ids.has(token))
      throw new UserError("a GGUF's vocabulary has a token twice", {
        file: where,
        token: JSON.stringify(token),
        ids: `${ids.get(token)}, ${id}`,
      });
    ids.set(token, id);
  }
  return ids;
}

function pairs(merges: readonly string[], ids: ReadonlyMap<string, number>, where: string): [string, string][] {
  return merges.map((merge, index) => {
    const [left, right, ...others] = merge.split(" ");
    if (left === undefined || right === undefined || others.length > 0 || !ids.has(left) || !ids.has(right) || !ids.has(left + right))
      throw new UserError("a GGUF's merge is not one of two tokens into a third", { file: where, index, got: JSON.stringify(merge) });
    return [left, right];
  });
}

function isCutOut(type: number): boolean {
  return type === CONTROL || type === USER_DEFINED;
}

/** Tokens that are cut out of a text: those whose types say so, and the special ones. */
function addedTokens({ tokens, types, special }: GgufVocabulary, where: string): object[] {
  const named = new Set(Object.values(special));
  return tokens.flatMap((content, id) => {
    if (!isCutOut(types[id]!) && !named.has(id)) return [];
    if (content === "") throw new UserError("a GGUF's vocabulary has a special token without a text", { file: where, id });
    const isSpecial = types[id] !== USER_DEFINED || named.has(id);
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: isSpecial }];
  });
}

/** What puts BOS and EOS around a text. */
function around({ tokens, special, addBos, addEos }: GgufVocabulary, addsBos: GgufWords["addBos"], where: string): object[] {
  const id = (name: SpecialName, wanted: boolean): number[] => {
    if (!wanted) return [];
    if (special[name] === null)
      throw new UserError("a GGUF wants a token around texts that it does not name", { file: where, token: name });
    return [special[name]];
  };
  const before = id("bos_token", addBos ?? addsBos);
  const after = id("eos_token", addEos ?? false);
  if (before.length + after.length === 0) return [];
  const piece = (type_id: number) => (each: number) => ({ SpecialToken: { id: tokens[each]!, type_id } });
  const text = (name: string, type_id: number): object[] => [
    ...before.map(piece(type_id)),
    { Sequence: { id: name, type_id } },
    ...after.map(piece(type_id)),
  ];
  return [
    {
      type: "TemplateProcessing",
      single: text("A", 0),
      pair: [...text("A", 0), ...text("B", 1)],
      special_tokens: Object.fromEntries(
        [...new Set([...before, ...after])].map((each) => [tokens[each]!, { id: tokens[each]!, ids: [each], tokens: [tokens[each]!] }]),
      ),
    },
  ];
}
