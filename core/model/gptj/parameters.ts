import type { ParameterSet, ParameterSpec } from "../family.js";
import type { GptjShape } from "./config.js";

/** The parameters of a GPT-J, by Hugging Face's names. */
export function gptjParameters(shape: GptjShape): ParameterSet {
  const { width: D, vocabulary: V } = shape;
  return {
    embedding: { name: "transformer.wte.weight", input: "table", shape: [V, D], initial: "noise" },
    blocks: Array.from({ length: shape.layers }, (_, layer) =>
      blockParameters(shape).map((spec) => ({ ...spec, name: `transformer.h.${layer}.${spec.input}` })),
    ),
    norm: [
      { name: "transformer.ln_f.weight", input: "weight", shape: [D], initial: "one" },
      { name: "transformer.ln_f.bias", input: "bias", shape: [D], initial: "zero" },
    ],
    head: [
      { name: "lm_head.weight", input: "weight", shape: [V, D], initial: "noise" },
      { name: "lm_head.bias", input: "bias", shape: [V], initial: "zero" },
    ],
  };
}

/** The parameters of one block, the same in every layer; the graphs call them by their names below the layer's. */
export function blockParameters({ width: D, innerWidth: F }: GptjShape): Omit<ParameterSpec, "name">[] {
  return [
    { input: "ln_1.weight", shape: [D], initial: "one" },
    { input: "ln_1.bias", shape: [D], initial: "zero" },
    { input: "attn.q_proj.weight", shape: [D, D], initial: "noise" },
    { input: "attn.k_proj.weight", shape: [D, D], initial: "noise" },
    { input: "attn.v_proj.weight", shape: [D, D], initial: "identity" },
    { input: "attn.out_proj.weight", shape: [D, D], initial: "identity" },
    { input: "mlp.fc_in.weight", shape: [F, D], initial: "noise" },
    { input: "mlp.fc_in.bias", shape: [F], initial: "zero" },
    { input: "mlp.fc_out.weight", shape: [D, F], initial: "noise" },
    { input: "mlp.fc_out.bias", shape: [D], initial: "zero" },
  ];
}
