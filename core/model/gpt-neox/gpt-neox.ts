import type { ModelFamily } from "../family.js";
import { gptNeoxConfigJson, parseGptNeoxConfig, type GptNeoxShape } from "./config.js";
import { gptNeoxDecoder } from "./decoder.js";
import { gptNeoxParameters } from "./parameters.js";
import { gptNeoxTraining } from "./training.js";

/** GPT-NeoX (Pythia, Dolly 2's base): q, k and v fused head by head, rotary positions on halves, attention and MLP side by side or one after the other. */
export const gptNeox: ModelFamily<GptNeoxShape> = {
  type: "gpt_neox",
  name: "GPT-NeoX",
  tokenizerClass: "GPTNeoXTokenizer",
  parse: parseGptNeoxConfig,
  parameters: gptNeoxParameters,
  source: (_, { name, shape }) => ({ tensor: name, shape }),
  isBuffer: (tensor) => /^gpt_neox\.layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$/.test(tensor),
  training: gptNeoxTraining,
  decoder: gptNeoxDecoder,
  configJson: gptNeoxConfigJson,
};
