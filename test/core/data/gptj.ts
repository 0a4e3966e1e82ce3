import ranks from "js-tiktoken/ranks/gpt2";
import { gptjTokenizerJson } from "../../../core/data/gpt2-vocabulary.js";

/** GPT-J's tokenizer.json, from the ranks of GPT-2's tokens. */
export function gptjTokenizer(): Record<string, unknown> {
  const lines = ranks.bpe_ranks.split("\n").flatMap((line) => line.split(" ").slice(2));
  return gptjTokenizerJson(lines.map((token) => Buffer.from(token, "base64")));
}
