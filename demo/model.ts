import { layoutFile } from "../core/format/safetensors.js";
import { parseGptjConfig } from "../core/model/gptj/config.js";
import { elements, modelWeights, type WeightSpec } from "../core/model/gptj/parameters.js";

/** The demo's model: GPT-J's architecture and vocabulary, small enough to be trained while one looks on. */
export const DEMO_CONFIG = {
  architectures: ["GPTJForCausalLM"],
  model_type: "gptj",
  n_layer: 2,
  n_head: 4,
  n_embd: 128,
  n_inner: null,
  n_positions: 512,
  rotary_dim: 32,
  vocab_size: 50400,
  activation_function: "gelu_new",
  layer_norm_epsilon: 1e-5,
  attn_pdrop: 0,
  embd_pdrop: 0,
  resid_pdrop: 0,
  initializer_range: 0.05,
  bos_token_id: 50256,
  eos_token_id: 50256,
  tie_word_embeddings: false,
  use_cache: true,
  dtype: "float32",
};

/** Standard deviations of the noise. */
const EMBEDDING_DEVIATION = 0.1;
const DEVIATION = 0.05;
/** What the identity is multiplied by in attention's values and output. */
const PASS_ON = 1.5;

/**
 * model.safetensors, fp32, the same bytes everywhere: integer arithmetic and exact steps only. Attention starts out passing
 * on what it looks at (values and output are a multiple of the identity, plus noise) and the head starts out as the embedding, so that
 * repeating a word of the question, which takes long to learn from noise alone, is learned in a minute.
 */
export function demoWeights(): Buffer {
  const { header, entries, fileBytes } = layoutFile(
    modelWeights(parseGptjConfig(DEMO_CONFIG, "the demo's config")).map((spec) => ({ ...spec, dtype: "F32" })),
  );
  const file = Buffer.alloc(fileBytes);
  file.set(header);
  for (const spec of entries) {
    const values = initialValues(spec);
    const view = new DataView(file.buffer, file.byteOffset + spec.offset, values.length * 4);
    for (let index = 0; index < values.length; index++) view.setFloat32(index * 4, values[index]!, true);
  }
  return file;
}

function initialValues({ name, shape }: WeightSpec): Float32Array {
  const values = new Float32Array(elements(shape));
  if (name.endsWith(".bias")) return values;
  if (/\.ln_\w+\.weight$/.test(name)) return values.fill(1);
  if (name === "transformer.wte.weight") return addNoise(values, name, EMBEDDING_DEVIATION);
  if (name === "lm_head.weight") return addNoise(values, "transformer.wte.weight", DEVIATION);
  if (/\.(v_proj|out_proj)\.weight$/.test(name)) for (let index = 0; index < values.length; index += shape[1]! + 1) values[index] = PASS_ON;
  return addNoise(values, name, DEVIATION);
}

/** Mean and standard deviation of the sum of four uniform bytes. */
const MEAN = 4 * 127.5;
const SPREAD = 147.8;

/** Adds noise that is nearly normal, of a name and place alone. */
function addNoise(values: Float32Array, name: string, deviation: number): Float32Array {
  let seed = 0x811c9dc5;
  for (const char of name) seed = Math.imul(seed ^ char.charCodeAt(0), 0x01000193);
  const scale = deviation / SPREAD;
  for (let index = 0; index < values.length; index++) {
    let bits = Math.imul(index ^ seed, 0x85ebca6b);
    bits = Math.imul(bits ^ (bits >>> 15) ^ index, 0xc2b2ae35);
    bits = Math.imul(bits ^ (bits >>> 13), 0x2c1b3c6d);
    bits ^= bits >>> 16;
    const sum = (bits & 255) + ((bits >>> 8) & 255) + ((bits >>> 16) & 255) + (bits >>> 24);
    values[index]! += (sum - MEAN) * scale;
  }
  return values;
}
