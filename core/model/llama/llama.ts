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
    configJson: (size) => llamaConfigJson(kind, size),
  };
}

const LLAMA: LlamaKind = {
  type: "llama",
  positions: 2048,
  keyValueHeads: null,
  headWidth: null,
  slidingWindow: null,
  mayAsk: ["attention_bias", "mlp_bias"],
  biases: [],
  headNorms: false,
  bosTokenId: 1,
  eosTokenId: 2,
};

/** Llama 1 to 3, and what has its shape: SmolLM2, TinyLlama. */
export const llama: ModelFamily<LlamaShape> = family("Llama", null, LLAMA);

/** Mistral, where no window slides. */
export const mistral: ModelFamily<LlamaShape> = family("Mistral", null, {
  ...LLAMA,
  type: "mistral",
  positions: 131_072,
  keyValueHeads: 8,
  slidingWindow: 4096,
  mayAsk: [],
});

const QWEN: LlamaKind = {
  ...LLAMA,
  type: "qwen2",
  positions: 32_768,
  keyValueHeads: 32,
  slidingWindow: "switched",
  bosTokenId: null,
  eosTokenId: null,
};

/** Qwen 2 and 2.5. */
export const qwen2: ModelFamily<LlamaShape> = family("Qwen 2", "Qwen2Tokenizer", {
  ...QWEN,
  mayAsk: [],
  biases: ["q_proj", "k_proj", "v_proj"],
});

/** Qwen 3. */
export const qwen3: ModelFamily<LlamaShape> = family("Qwen 3", "Qwen2Tokenizer", {
  ...QWEN,
  type: "qwen3",
  headWidth: 128,
  mayAsk: ["attention_bias"],
  headNorms: true,
});
