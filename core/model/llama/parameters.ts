import type { ParameterSet, ParameterSpec } from "../family.js";
import type { LlamaShape } from "./config.js";

/** The parameters of a Llama, by Hugging Face's names. */
export function llamaParameters(shape: LlamaShape): ParameterSet {
  const { width: D, vocabulary: V } = shape;
  const embedding = { name: "model.embed_tokens.weight", input: "table", shape: [V, D], initial: "noise" } as const;
  return {
    embedding,
    blocks: Array.from({ length: shape.layers }, (_, layer) =>
      blockParameters(shape).map((spec) => ({ ...spec, name: `model.layers.${layer}.${spec.input}` })),
    ),
    norm: [{ name: "model.norm.weight", input: "weight", shape: [D], initial: "one" }],
    head: [
      { name: shape.tied ? embedding.name : "lm_head.weight", input: "weight", layerNames: ["lm_head"], shape: [V, D], initial: "noise" },
    ],
  };
}

/** The parameters of one block, the same in every layer; the graphs call them by their names below the layer's. */
export function blockParameters(shape: LlamaShape): Omit<ParameterSpec, "name">[] {
  const { width: D, innerWidth: F, heads: H, keyValueHeads: G, headWidth: W } = shape;
  const norm = (input: string, width: number): Omit<ParameterSpec, "name"> => ({
    input: `${input}.weight`,
    shape: [width],
    initial: "one",
  });
  const linear = (
    input: string,
    out: number,
    width: number,
    initial: ParameterSpec["initial"] = "noise",
  ): Omit<ParameterSpec, "name">[] => [
    { input: `${input}.weight`, shape: [out, width], initial },
    ...(shape.biases.includes(input.split(".")[1]!) ? [{ input: `${input}.bias`, shape: [out], initial: "zero" } as const] : []),
  ];
  return [
    norm("input_layernorm", D),
    ...linear("self_attn.q_proj", H * W, D),
    ...linear("self_attn.k_proj", G * W, D),
    ...linear("self_attn.v_proj", G * W, D, "identity"),
    ...linear("self_attn.o_proj", D, H * W, "identity"),
    ...(shape.headNorms ? [norm("self_attn.q_norm", W), norm("self_attn.k_norm", W)] : []),
    norm("post_attention_layernorm", D),
    ...linear("mlp.gate_proj", F, D),
    ...linear("mlp.up_proj", F, D),
    ...linear("mlp.down_proj", D, F),
  ];
}
