import type { ParameterSet, ParameterSpec } from "../family.js";
import type { GptNeoxShape } from "./config.js";

/** The parameters of a GPT-NeoX, by Hugging Face's names. */
export function gptNeoxParameters(shape: GptNeoxShape): ParameterSet {
  const { width: D, vocabulary: V, tied } = shape;
  const words = { name: "gpt_neox.embed_in.weight", shape: [V, D], initial: "noise" } as const;
  return {
    embedding: { ...words, input: "table" },
    blocks: Array.from({ length: shape.layers }, (_, layer) =>
      blockParameters(shape).map((spec) => ({ ...spec, name: `gpt_neox.layers.${layer}.${spec.input}` })),
    ),
    norm: [
      { name: "gpt_neox.final_layer_norm.weight", input: "weight", shape: [D], initial: "one" },
      { name: "gpt_neox.final_layer_norm.bias", input: "bias", shape: [D], initial: "zero" },
    ],
    head: [{ ...words, ...(!tied && { name: "embed_out.weight" }), input: "weight", layerNames: ["embed_out", "lm_head"] }],
  };
}

/** The parameters of one block, the same in every layer; q, k and v are one matrix, head by head: [heads, 3, headWidth, D]. */
function blockParameters({ width: D, innerWidth: F, attentionBias }: GptNeoxShape): Omit<ParameterSpec, "name">[] {
  const layer = (module: string, out: number, width: number, initial: ParameterSpec["initial"], hasBias = true) => [
    { input: `${module}.weight`, shape: [out, width], initial },
    ...(hasBias ? [{ input: `${module}.bias`, shape: [out], initial: "zero" as const }] : []),
  ];
  const norm = (module: string) => [
    { input: `${module}.weight`, shape: [D], initial: "one" as const },
    { input: `${module}.bias`, shape: [D], initial: "zero" as const },
  ];
  return [
    ...norm("input_layernorm"),
    ...norm("post_attention_layernorm"),
    ...layer("attention.query_key_value", 3 * D, D, "noise", attentionBias),
    ...layer("attention.dense", D, D, "identity", attentionBias),
    ...layer("mlp.dense_h_to_4h", F, D, "noise"),
    ...layer("mlp.dense_4h_to_h", D, F, "noise"),
  ];
}
