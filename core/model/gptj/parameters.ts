import type { GptjConfig } from "./config.js";

/** A weight by its Hugging Face name; linear weights are [out, in], as torch stores them. */
export interface WeightSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

/** The weights of block `layer`, in the order in which graphs take them and return their gradients. */
export function blockWeights(config: GptjConfig, layer: number): WeightSpec[] {
  const { width: D, innerWidth: F } = config;
  const at = (name: string, ...shape: number[]): WeightSpec => ({ name: `transformer.h.${layer}.${name}`, shape });
  return [
    at("ln_1.weight", D),
    at("ln_1.bias", D),
    at("attn.q_proj.weight", D, D),
    at("attn.k_proj.weight", D, D),
    at("attn.v_proj.weight", D, D),
    at("attn.out_proj.weight", D, D),
    at("mlp.fc_in.weight", F, D),
    at("mlp.fc_in.bias", F),
    at("mlp.fc_out.weight", D, F),
    at("mlp.fc_out.bias", D),
  ];
}

/** The table of word vectors [vocabulary, D]. */
export function embeddingWeight(config: GptjConfig): WeightSpec {
  return { name: "transformer.wte.weight", shape: [config.vocabulary, config.width] };
}

/** Weight and bias [D] of the norm before the head. */
export function finalNormWeights(config: GptjConfig): WeightSpec[] {
  return ["weight", "bias"].map((kind) => ({ name: `transformer.ln_f.${kind}`, shape: [config.width] }));
}

/** Weight [vocabulary, D] and bias [vocabulary] of the head. */
export function headWeights(config: GptjConfig): WeightSpec[] {
  return [
    { name: "lm_head.weight", shape: [config.vocabulary, config.width] },
    { name: "lm_head.bias", shape: [config.vocabulary] },
  ];
}

/** Every weight of the model, from the embedding to the head: the order of tensors in sums, norms and layouts. */
export function modelWeights(config: GptjConfig): WeightSpec[] {
  const blocks = Array.from({ length: config.layers }, (_, layer) => blockWeights(config, layer));
  return [embeddingWeight(config), ...blocks.flat(), ...finalNormWeights(config), ...headWeights(config)];
}

/** Number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Number of a model's parameters. */
export function parameterCount(config: GptjConfig): number {
  return modelWeights(config).reduce((sum, { shape }) => sum + elements(shape), 0);
}
