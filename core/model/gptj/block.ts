import type { GraphBuilder, Value } from "../../graph/graph.js";
import type { Attention } from "../common/decoder.js";
import type { Weights } from "../common/weights.js";
import type { GptjShape } from "./config.js";

/** T tokens of all rows end to end, D the model's width, F the MLP's. */

/** What one norm of x[T,D] feeds, attention and MLP side by side: q, k and v [T,D] before rotation, and the MLP's inside [T,F] before its activation. */
export function project(g: GraphBuilder, shape: GptjShape, x_TD: Value, weights: Weights): Record<"q" | "k" | "v" | "inner", Value> {
  const h_TD = g.layerNorm(x_TD, weights.get("ln_1.weight"), weights.get("ln_1.bias"), shape.normEpsilon);
  return {
    q: weights.linear(h_TD, "attn.q_proj"),
    k: weights.linear(h_TD, "attn.k_proj"),
    v: weights.linear(h_TD, "attn.v_proj"),
    inner: weights.linear(h_TD, "mlp.fc_in"),
  };
}

/** What becomes of both, [T,D], without the x[T,D] that they are added to; the MLP's inside after its activation. */
export function join(g: GraphBuilder, gathered_TD: Value, activated_TF: Value, weights: Weights): Value {
  const mlp_TD = weights.linear(activated_TF, "mlp.fc_out");
  return g.add(weights.linear(gathered_TD, "attn.out_proj"), mlp_TD);
}

/** GPT-J's block in one piece, x[T,D] to y[T,D]. */
export function block(g: GraphBuilder, shape: GptjShape, x_TD: Value, weights: Weights, attention: Attention): Value {
  const { q, k, v, inner } = project(g, shape, x_TD, weights);
  return g.add(join(g, attention(q, k, v), g.gelu(inner), weights), x_TD);
}
