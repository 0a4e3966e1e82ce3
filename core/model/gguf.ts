import { UserError } from "../errors.js";
import { GgufFields } from "../format/gguf-fields.js";
import type { GgufHeader } from "../format/gguf.js";
import { convertGgufTokenizer, type GgufVocabulary, type SpecialName } from "../text/gguf-tokenizer.js";
import type { ConvertedWeight, GgufArchitecture, GgufContent } from "./gguf-model.js";
import { llamaOfGguf } from "./llama/gguf.js";

/** A GGUF as a directory of Hugging Face's files. */

/** The architectures that are read, by their `general.architecture`. */
const ARCHITECTURES: ReadonlyMap<string, GgufArchitecture> = new Map([["llama", llamaOfGguf]]);

/** What a GGUF becomes, but for the bytes of its weights. */
export interface GgufDirectory {
  /** config.json's object */
  readonly configJson: Readonly<Record<string, unknown>>;
  /** texts of all files but the weights, by their names */
  readonly texts: ReadonlyMap<string, string>;
  readonly weights: readonly ConvertedWeight[];
}

const DTYPES = { F16: "float16", BF16: "bfloat16" } as const;

/**
 * Reads what a GGUF says of its model. `values`: as in GgufContent. Throws UserError naming architecture, value or tensor that
 * is not read. `where`: the file's name.
 */
export function directoryOfGguf({ metadata, tensors }: GgufHeader, values: GgufContent["values"], where: string): GgufDirectory {
  const fields = new GgufFields(metadata, where);
  const name = fields.text("general.architecture");
  const architecture = ARCHITECTURES.get(name);
  if (architecture === undefined)
    throw new UserError("a GGUF has a model of an architecture that is not read: take the model's directory of safetensors", {
      file: where,
      expected: [...ARCHITECTURES.keys()].join(" or "),
      got: name,
    });
  const { configJson: config, weights } = architecture({ fields, tensors, values });
  const vocabulary = vocabularyOf(fields);
  const special = vocabulary?.special;
  const ids = { bos_token_id: special?.bos_token ?? null, eos_token_id: endsOf(fields, special?.eos_token ?? null) };
  const pad = special?.pad_token == null ? {} : { pad_token_id: special.pad_token };
  const type = weights[0]!.tensor.type;
  const configJson = { ...config, ...ids, ...pad, dtype: type === "F16" || type === "BF16" ? DTYPES[type] : "float32" };
  const texts = new Map([
    ["config.json", readable(configJson)],
    ["generation_config.json", readable({ ...ids, ...pad })],
  ]);
  if (vocabulary !== null) {
    if (vocabulary.tokens.length > Number(config["vocab_size"]))
      throw new UserError("a GGUF has more tokens than its model has words", {
        file: where,
        expected: `at most ${String(config["vocab_size"])}`,
        got: vocabulary.tokens.length,
      });
    const { tokenizerJson, tokenizerConfig } = convertGgufTokenizer(vocabulary, Number(config["max_position_embeddings"]), where);
    texts.set("tokenizer.json", `${JSON.stringify(tokenizerJson)}\n`);
    texts.set("tokenizer_config.json", readable(tokenizerConfig));
  }
  const template = fields.text("tokenizer.chat_template", "");
  if (template !== "") texts.set("chat_template.jinja", template);
  return { configJson, texts, weights };
}

function readable(json: object): string {
  return `${JSON.stringify(json, null, 2)}\n`;
}

/** Keys of special tokens, and llama.cpp's ids of SentencePiece's where the file names none. */
const SPECIAL: readonly (readonly [name: SpecialName, key: string, sentencePiece: number | null])[] = [
  ["bos_token", "bos_token_id", 1],
  ["eos_token", "eos_token_id", 2],
  ["unk_token", "unknown_token_id", 0],
  ["pad_token", "padding_token_id", null],
];
const TOKENIZER = "tokenizer.ggml.";
/** What the file says if it has no tokenizer. */
const NONE: readonly string[] = ["none", "no_vocab"];

/** What the file says of its tokenizer; null: it has none. */
function vocabularyOf(fields: GgufFields): GgufVocabulary | null {
  const model = fields.text(`${TOKENIZER}model`, "none");
  if (NONE.includes(model)) return null;
  const flag = (key: string): boolean | null => (fields.has(TOKENIZER + key) ? fields.flag(TOKENIZER + key, false) : null);
  const id = (key: string, otherwise: number | null): number | null =>
    fields.has(TOKENIZER + key) ? fields.count(TOKENIZER + key) : otherwise;
  const types = fields.numbers(`${TOKENIZER}token_type`);
  if (types === null) throw fields.wrong(`${TOKENIZER}token_type`, "a type for each token");
  // characters would be replaced before they are looked for
  if (fields.has(`${TOKENIZER}precompiled_charsmap`)) throw fields.wrong(`${TOKENIZER}precompiled_charsmap`, "a tokenizer without it");
  const special = SPECIAL.map(([name, key, sentencePiece]) => [name, id(key, model === "llama" ? sentencePiece : null)] as const);
  return {
    model,
    words: fields.has(`${TOKENIZER}pre`) ? fields.text(`${TOKENIZER}pre`) : null,
    tokens: fields.texts(`${TOKENIZER}tokens`),
    types,
    scores: fields.numbers(`${TOKENIZER}scores`),
    merges: fields.has(`${TOKENIZER}merges`) ? fields.texts(`${TOKENIZER}merges`) : null,
    special: Object.fromEntries(special) as GgufVocabulary["special"],
    addBos: flag("add_bos_token"),
    addEos: flag("add_eos_token"),
    prefixSpace: flag("add_space_prefix"),
  };
}

/** The tokens that end an answer: EOS, and the ends of a turn and of a message where the file names them. */
function endsOf(fields: GgufFields, eos: number | null): number | readonly number[] | null {
  const others = ["eot_token_id", "eom_token_id"].filter((key) => fields.has(TOKENIZER + key)).map((key) => fields.count(TOKENIZER + key));
  const ids = [...new Set([...(eos === null ? [] : [eos]), ...others])];
  return ids.length > 1 ? ids : (ids[0] ?? null);
}
