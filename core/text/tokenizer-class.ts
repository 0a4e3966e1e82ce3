import { UserError } from "../errors.js";
import { QWEN2_PATTERN } from "./split-patterns.js";
import type { TokenizerJson } from "./tokenizer-json.js";

/** Which class of transformers reads a model's tokenizer, and what that class makes of the files. */

/** A class that takes vocabulary, merges and added tokens from the files and builds everything else by itself. */
export interface RebuiltClass {
  readonly name: string;
  /** special tokens that it has unless the files name others */
  readonly defaults: Readonly<Record<string, string>>;
  readonly normalizer: TokenizerJson["normalizer"];
  preTokenizer(this: void, prefixSpace: boolean): TokenizerJson["pre_tokenizer"];
  /** whether it adds its special tokens once more, so that none of them is looked for in normalized text */
  readonly addsSpecialAgain: boolean;
}

const END = "<|endoftext|>";
const GPT2: Omit<RebuiltClass, "name"> = {
  defaults: { unk_token: END, bos_token: END, eos_token: END },
  normalizer: null,
  preTokenizer: (prefixSpace) => ({ type: "ByteLevel", add_prefix_space: prefixSpace, use_regex: true }),
  addsSpecialAgain: false,
};
const REBUILT: readonly RebuiltClass[] = [
  { ...GPT2, name: "GPT2Tokenizer" },
  { ...GPT2, name: "CodeGenTokenizer" },
  { ...GPT2, name: "GPTNeoXTokenizer", defaults: { ...GPT2.defaults, pad_token: "<|padding|>" }, normalizer: { type: "NFC" } },
  {
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
];

/** Classes that take tokenizer.json as it is. */
const AS_IT_IS: readonly string[] = ["TokenizersBackend", "PreTrainedTokenizer", "PythonBackend", "BloomTokenizer"];

/** How to have the ids of tokenizer.json, whatever transformers would build. */
export const ADVICE = 'to have the ids of tokenizer.json, write "tokenizer_class": "PreTrainedTokenizerFast" into tokenizer_config.json';

/** What decides the class. */
export interface ClassChoice {
  /** the class of its family; null: tokenizer.json as it is */
  readonly family: string | null;
  /** `tokenizer_class` of tokenizer_config.json, or else of config.json */
  readonly named: unknown;
  /** whether tokenizer.json has a ByteLevel component: LlamaTokenizer then takes it as it is */
  readonly hasByteLevel: boolean;
  /** the name of the file that would name it */
  readonly where: string;
}

/** The class that AutoTokenizer of transformers 5 takes; null: one that takes tokenizer.json as it is. Throws UserError that names another one. */
export function tokenizerClass({ family, named, hasByteLevel, where }: ClassChoice): RebuiltClass | null {
  if (named !== undefined && typeof named !== "string")
    throw new UserError("a model's tokenizer class is not a name", { file: where, field: "tokenizer_class", got: JSON.stringify(named) });
  const name = (named ?? family ?? undefined)?.replace(/Fast$/, "");
  if (name === undefined || AS_IT_IS.includes(name) || (name === "LlamaTokenizer" && hasByteLevel)) return null;
  const found = REBUILT.find((each) => each.name === name);
  if (found !== undefined) return found;
  throw new UserError("transformers reads this model's tokenizer by a class that may change its ids, and Roslin doesn't know how", {
    file: where,
    field: "tokenizer_class",
    got: named ?? name,
    advice: ADVICE,
  });
}
