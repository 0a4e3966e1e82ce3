import gpt2 from "js-tiktoken/ranks/gpt2";
import { gpt2TokenizerJson } from "../core/text/gpt2-vocabulary.js";

/** GPT-J's tokenizer.json: 50,257 tokens of GPT-2 and 143 extra ones, rebuilt from the ranks that js-tiktoken ships. */
export function gpt2Tokenizer(): Record<string, unknown> {
  // each line: a mark, the rank of its first token, and tokens in base64 by rank
  const tokens = gpt2.bpe_ranks.split("\n").flatMap((line) => line.split(" ").slice(2));
  return gpt2TokenizerJson(tokens.map((token) => Buffer.from(token, "base64")));
}

/** tokenizer_config.json, which transformers' AutoTokenizer needs beside tokenizer.json. */
export const TOKENIZER_CONFIG = {
  tokenizer_class: "GPT2Tokenizer",
  bos_token: "<|endoftext|>",
  eos_token: "<|endoftext|>",
  unk_token: "<|endoftext|>",
  add_prefix_space: false,
  model_max_length: 512,
};
