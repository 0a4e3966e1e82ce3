import { UserError } from "../errors.js";
import type { SentencePieceJson } from "./sentencepiece-json.js";
import { QWEN2_PATTERN } from "./split-patterns.js";
import type { TokenizerJson } from "./tokenizer-json.js";

/** Which class of transformers reads a model's tokenizer, and what that class makes of the files. */

/** A class that takes vocabulary, merges and added tokens from the files and builds everything else by itself. */
export type RebuiltClass = ByteLevelClass | LlamaClass;

interface AnyClass {
  readonly name: string;
  /** special tokens that it has unless the files name others */
  readonly defaults: Readonly<Record<string, string>>;
  /** whether it adds its special tokens once more, so that none of them is looked for in normalized text */
  readonly addsSpecialAgain: boolean;
  /** what to do about ids that are not those of tokenizer.json */
  readonly advice: string;
}

/** A class of byte-level BPE. */
export interface ByteLevelClass extends AnyClass {
  readonly kind: "byte-level";
  readonly normalizer: TokenizerJson["normalizer"];
  preTokenizer(this: void, prefixSpace: boolean): TokenizerJson["pre_tokenizer"];
  /** whether it adds nothing around a text, whatever the file's post-processor says */
  readonly addsNothing: boolean;
}

/** LlamaTokenizer: BPE of characters and bytes; blanks are a character. */
interface LlamaClass extends AnyClass {
  readonly kind: "sentencepiece";
}

/** Blanks as LlamaTokenizer takes them, instead of tokenizer.json's normalizer. `before`: where a text gets one more. */
export function llamaBlanks(before: "always" | "first" | "never"): Pick<SentencePieceJson, "normalizer" | "pre_tokenizer" | "decoder"> {
  const strip = before === "never" ? [] : [{ type: "Strip", content: " ", start: 1, stop: 0 } as const];
  return {
    normalizer: null,
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: before, split: false },
    decoder: {
      type: "Sequence",
      decoders: [{ type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }, ...strip],
    },
  };
}

const END = "<|endoftext|>";
/** How to have the ids of tokenizer.json, whatever transformers would build. */
const ADVICE = 'to have the ids of tokenizer.json, write "tokenizer_class": "PreTrainedTokenizerFast" into tokenizer_config.json';

const GPT2: Omit<ByteLevelClass, "name"> = {
  kind: "byte-level",
  defaults: { unk_token: END, bos_token: END, eos_token: END },
  normalizer: null,
  preTokenizer: (prefixSpace) => ({ type: "ByteLevel", add_prefix_space: prefixSpace, use_regex: true }),
  addsSpecialAgain: false,
  addsNothing: false,
  advice: ADVICE,
};
const REBUILT: readonly RebuiltClass[] = [
  { ...GPT2, name: "GPT2Tokenizer" },
  { ...GPT2, name: "CodeGenTokenizer" },
  {
    ...GPT2,
    name: "GPTNeoXTokenizer",
    defaults: { ...GPT2.defaults, pad_token: "<|padding|>" },
    normalizer: { type: "NFC" },
    addsNothing: true,
  },
  {
    ...GPT2,
    name: "Qwen2Tokenizer",
    defaults: { unk_token: END, eos_token: END, pad_token: END },
    normalizer: { type: "NFC" },
    preTokenizer: (prefixSpace) => ({
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: QWEN2_PATTERN }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: prefixSpace, use_regex: false },
      ],
    }),
    addsSpecialAgain: true,
  },
  {
    kind: "sentencepiece",
    name: "LlamaTokenizer",
    defaults: { unk_token: "<unk>", bos_token: "<s>", eos_token: "</s>" },
    addsSpecialAgain: false,
    advice: ADVICE,
  },
];

/** Classes that take tokenizer.json as it is. */
const AS_IT_IS: readonly string[] = ["TokenizersBackend", "PreTrainedTokenizer", "PythonBackend", "BloomTokenizer"];

/** Model types whose class counts whatever their files name. */
const FIXED: Readonly<Record<string, string>> = { mistral: "TokenizersBackend", qwen2: "Qwen2Tokenizer" };

/** What decides the class. */
export interface ClassChoice {
  /** `model_type` of config.json */
  readonly modelType: unknown;
  /** the class of its family; null: tokenizer.json as it is */
  readonly family: string | null;
  /** `tokenizer_class` of tokenizer_config.json, or else of config.json */
  readonly named: unknown;
  /** whether "ByteLevel" stands anywhere in tokenizer.json: LlamaTokenizer then takes it as it is */
  hasByteLevel(this: void): boolean;
  /** the name of the file that would name it */
  readonly where: string;
}

/** The class that AutoTokenizer of transformers 5 takes; null: one that takes tokenizer.json as it is. Throws UserError that names another one. */
export function tokenizerClass({ modelType, family, named, hasByteLevel, where }: ClassChoice): RebuiltClass | null {
  if (named !== undefined && typeof named !== "string")
    throw new UserError("a model's tokenizer class is not a name", { file: where, field: "tokenizer_class", got: JSON.stringify(named) });
  const fixed = typeof modelType === "string" && Object.hasOwn(FIXED, modelType) ? FIXED[modelType] : undefined;
  const name = (fixed ?? named ?? family ?? undefined)?.replace(/Fast$/, "");
  if (name === undefined || AS_IT_IS.includes(name) || (name === "LlamaTokenizer" && hasByteLevel())) return null;
  const found = REBUILT.find((each) => each.name === name);
  if (found !== undefined)
    return fixed === undefined
      ? found
      : { ...found, advice: `a model of type ${modelType as string} is read by this class, whatever its files name` };
  throw new UserError("transformers reads this model's tokenizer by a class that may change its ids, and Roslin doesn't know how", {
    file: where,
    field: "tokenizer_class",
    got: named ?? name,
    advice: ADVICE,
  });
}
