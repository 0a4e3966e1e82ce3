import type { PromptTokens } from "../../core/text/prompt-kind.js";
import type { ModelTokenizer } from "../../core/text/model-tokenizer.js";

/** The id that ends an answer: the tokenizer's EOS token if generation stops at it, else the first one at which it stops; null: there is none. */
export function endIdOf(tokenizer: Pick<ModelTokenizer, "idOf" | "eosToken">, eosIds: readonly number[]): number | null {
  const own = tokenizer.eosToken === null ? undefined : tokenizer.idOf(tokenizer.eosToken);
  return own !== undefined && eosIds.includes(own) ? own : (eosIds[0] ?? null);
}

/** What a prompt needs of a model's tokenizer. `eosIds`: those at which generation stops. */
export function promptTokens(tokenizer: ModelTokenizer, eosIds: readonly number[]): PromptTokens {
  const endId = endIdOf(tokenizer, eosIds);
  const endToken = endId === null ? "" : tokenizer.decode([endId]);
  return {
    bosToken: tokenizer.bosToken ?? "",
    eosToken: tokenizer.eosToken ?? endToken,
    endToken,
    named: tokenizer.named,
    chatTemplate: tokenizer.chatTemplate,
    added: tokenizer.tables.added.map(({ content }) => content),
  };
}
