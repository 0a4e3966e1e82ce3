import type { PromptTokens } from "../../core/text/prompt-kind.js";
import type { ModelTokenizer } from "./read-tokenizer.js";

/** What a prompt needs of a model's tokenizer. Where the tokenizer names no EOS token, the config's id does; null: neither does. */
export function promptTokens(tokenizer: ModelTokenizer, eosId: number | null): PromptTokens {
  return {
    bosToken: tokenizer.bosToken ?? "",
    eosToken: tokenizer.eosToken ?? (eosId === null ? "" : tokenizer.decode([eosId])),
    chatTemplate: tokenizer.chatTemplate,
    added: [...tokenizer.added],
  };
}
