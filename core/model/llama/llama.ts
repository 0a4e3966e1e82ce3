import type { ModelFamily } from "../family.js";
import { llamaConfigJson, parseLlamaConfig, type LlamaKind, type LlamaShape } from "./config.js";
import { llamaDecoder } from "./decoder.js";
import { llamaParameters } from "./parameters.js";
import { llamaTraining } from "./training.js";

/** Root mean square norms, attention whose heads may share keys and values, rotary positions on halves, a gated MLP after it. */
function family(name: string, tokenizerClass: string | null, kind: LlamaKind): ModelFamily<LlamaShape> {
  return {
    type: kind.type,
    name,
    tokenizerClass,
    parse: (json, where) => parseLlamaConfig(kind, json, where),
    parameters: llamaParameters,
    source: (_, { name: tensor, shape }) => ({ tensor, shape }),
    isBuffer: (tensor) => /^model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq$/.test(tensor),
    training: llamaTraining,
    decoder: llamaDecoder,
    configJson: (size) => llamaConfigJson(kind.type, size),
  };
}

/** Llama 1 to 3, and what has its shape: SmolLM2, TinyLlama. */
export const llama: ModelFamily<LlamaShape> = family("Llama", null, {
  type: "llama",
  positions: 2048,
  keyValueHeads: null,
  slidingWindow: null,
  mayHaveBiases: true,
});

/** Mistral, whose heads look at everything: no window slides. */
export const mistral: ModelFamily<LlamaShape> = family("Mistral", null, {
  type: "mistral",
  positions: 131_072,
  keyValueHeads: 8,
  slidingWindow: 4096,
  mayHaveBiases: false,
});
