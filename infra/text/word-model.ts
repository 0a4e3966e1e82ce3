import { Tokenizer } from "@huggingface/tokenizers";
import type { OpenWordModel } from "../../core/text/sentencepiece-encoder.js";

/**
 * Hugging Face's models of words. Of the library only these are used: its added tokens, normalizers, pre-tokenizers and
 * decoders differ from those of Python's tokenizers, and the ones in core don't.
 */
export const openWordModel: OpenWordModel = (json) => {
  const nothing = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  const library = new Tokenizer({ ...nothing, model: { type: "BPE", ...(JSON.parse(json) as object) } }, {});
  return (word) => library.encode(word, { add_special_tokens: false }).ids;
};
