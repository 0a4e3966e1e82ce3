import type { ModelShape } from "../../core/model/shape.js";
import type { PromptTokens } from "../../core/text/prompt-kind.js";
import type { ModelTokenizer } from "./read-tokenizer.js";

/** What a prompt needs of a model's tokenizer. Where the tokenizer names no EOS token, the config's id does. */
export function promptTokens(tokenizer: ModelTokenizer, { eosTokenId }: Pick<ModelShape, "eosTokenId">): PromptTokens {
  return {
    bosToken: tokenizer.bosToken ?? "",
    eosToken: tokenizer.eosToken ?? tokenizer.decode([eosTokenId]),
    chatTemplate: tokenizer.chatTemplate,
    added: [...tokenizer.added],
  };
}
