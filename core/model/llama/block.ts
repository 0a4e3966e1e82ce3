import type { GraphBuilder, Value } from "../../graph/graph.js";
import type { Attention } from "../common/decoder.js";
import type { Weights } from "../common/weights.js";
import type { LlamaShape } from "./config.js";

/** T tokens of all rows end to end; H heads of width W, which share G heads of keys and values; D the model's width, F the MLP's. */

/** Of x[T,D] the queries [T,H·W] before rotation, and what they look at: keys before rotation and values [T,G·W]. */
export function project(g: GraphBuilder, shape: LlamaShape, x_TD: Value, weights: Weights): Record<"q" | "k" | "v", Value> {
  const h_TD = g.rmsNorm(x_TD, weights.get("input_layernorm.weight"), shape.normEpsilon);
  const normed = (x: Value, norm: string): Value => (shape.headNorms ? headNorm(g, shape, x, weights.get(norm)) : x);
  return {
    q: normed(weights.linear(h_TD, "self_attn.q_proj"), "self_attn.q_norm.weight"),
    k: normed(weights.linear(h_TD, "self_attn.k_proj"), "self_attn.k_norm.weight"),
    v: weights.linear(h_TD, "self_attn.v_proj"),
  };
}

/** Norms each head of x[T,heads·W] by itself, all by one weight[W]. */
function headNorm(g: GraphBuilder, { headWidth: W, normEpsilon }: LlamaShape, x: Value, weight_W: Value): Value {
  const width = x.shape[1] as number;
  return g.reshape(g.rmsNorm(g.reshape(x, "T", width / W, W), weight_W, normEpsilon), "T", width);
}

/** Of r[T,D], what the blocks before and attention leave, the MLP's two insides [T,F] before they meet. */
export function widen(g: GraphBuilder, shape: LlamaShape, r_TD: Value, weights: Weights): Record<"gate" | "up", Value> {
  const h_TD = g.rmsNorm(r_TD, weights.get("post_attention_layernorm.weight"), shape.normEpsilon);
  return { gate: weights.linear(h_TD, "mlp.gate_proj"), up: weights.linear(h_TD, "mlp.up_proj") };
}

/** The insides' meeting, silu(gate) ∘ up [T,F]. */
export function activate(g: GraphBuilder, gate_TF: Value, up_TF: Value): Value {
  return g.mul(g.mul(gate_TF, g.sigmoid(gate_TF)), up_TF);
}

/** What follows attention: x[T,D] and what its heads have gathered [T,H·W] → y[T,D], and what was on the way there. */
export function join(
  g: GraphBuilder,
  shape: LlamaShape,
  x_TD: Value,
  gathered: Value,
  weights: Weights,
): Record<"r" | "gate" | "up" | "y", Value> {
  const r = g.add(x_TD, weights.linear(gathered, "self_attn.o_proj"));
  const { gate, up } = widen(g, shape, r, weights);
  return { r, gate, up, y: g.add(r, weights.linear(activate(g, gate, up), "mlp.down_proj")) };
}

/** The block in one piece, x[T,D] to y[T,D]. */
export function block(g: GraphBuilder, shape: LlamaShape, x_TD: Value, weights: Weights, attention: Attention): Value {
  const { q, k, v } = project(g, shape, x_TD, weights);
  return join(g, shape, x_TD, attention(q, k, v), weights).y;
}
