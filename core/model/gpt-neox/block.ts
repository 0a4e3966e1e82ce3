import type { GraphBuilder, Value } from "../../graph/graph.js";
import type { Attention } from "../common/decoder.js";
import type { Weights } from "../common/weights.js";
import type { GptNeoxShape } from "./config.js";

/** T tokens of all rows end to end, H heads of width W, D = H·W the model's width, F the MLP's. */

/** One of the norms, over x[T,D]. */
export function norm(g: GraphBuilder, { normEpsilon }: GptNeoxShape, x_TD: Value, weights: Weights, module: string): Value {
  const prefix = module === "" ? "" : `${module}.`;
  return g.layerNorm(x_TD, weights.get(`${prefix}weight`), weights.get(`${prefix}bias`), normEpsilon);
}

/** The fused product [T,3D] of a norm of x[T,D], and what lies in it head by head: q, k and v [T,D] before rotation. */
export function project(g: GraphBuilder, shape: GptNeoxShape, x_TD: Value, weights: Weights): Record<"fused" | "q" | "k" | "v", Value> {
  const { heads: H, headWidth: W, width: D } = shape;
  const fused = weights.linear(norm(g, shape, x_TD, weights, "input_layernorm"), "attention.query_key_value");
  const parts_3THW = g.transpose(g.reshape(fused, "T", H, 3, W), 2, 0, 1, 3);
  const part = (index: number): Value => g.reshape(g.gather(parts_3THW, g.index(index)), "T", D);
  return { fused, q: part(0), k: part(1), v: part(2) };
}

/** The gradient at the fused product [T,3D], of those at q, k and v [T,D] before rotation. */
export function fuse(g: GraphBuilder, { heads: H, headWidth: W, width: D }: GptNeoxShape, parts: readonly Value[]): Value {
  const parts_TH1W = parts.map((part_TD) => g.reshape(part_TD, "T", H, 1, W));
  return g.reshape(g.concat(parts_TH1W, 2, 3), "T", 3 * D);
}

/** The MLP's inside [T,F] before its activation, of x[T,D], its input before the norm. */
export function widen(g: GraphBuilder, shape: GptNeoxShape, x_TD: Value, weights: Weights): Value {
  return weights.linear(norm(g, shape, x_TD, weights, "post_attention_layernorm"), "mlp.dense_h_to_4h");
}

/** GPT-NeoX's block in one piece, x[T,D] to y[T,D]. */
export function block(g: GraphBuilder, shape: GptNeoxShape, x_TD: Value, weights: Weights, attention: Attention): Value {
  const { q, k, v } = project(g, shape, x_TD, weights);
  const middle_TD = g.add(weights.linear(attention(q, k, v), "attention.dense"), x_TD);
  const inner_TF = widen(g, shape, shape.parallel ? x_TD : middle_TD, weights);
  return g.add(weights.linear(g[shape.activation](inner_TF), "mlp.dense_4h_to_h"), middle_TD);
}
