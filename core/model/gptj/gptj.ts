import type { ModelFamily } from "../family.js";
import { gptjConfigJson, parseGptjConfig, type GptjShape } from "./config.js";
import { gptjDecoder } from "./decoder.js";
import { gptjParameters } from "./parameters.js";
import { gptjTraining } from "./training.js";

/** GPT-J: attention and MLP side by side on one norm, rotary positions on interleaved pairs, a head with a bias. */
export const gptj: ModelFamily<GptjShape> = {
  type: "gptj",
  name: "GPT-J",
  tokenizerClass: "GPT2Tokenizer",
  parse: parseGptjConfig,
  parameters: gptjParameters,
  source: (_, { name, shape }) => ({ tensor: name, shape }),
  isBuffer: (tensor) => /^transformer\.h\.\d+\.attn\.(bias|masked_bias)$/.test(tensor),
  training: gptjTraining,
  decoder: gptjDecoder,
  configJson: gptjConfigJson,
};
