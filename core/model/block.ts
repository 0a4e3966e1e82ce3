import type { GraphBuilder, RowGeometry, Value } from "../onnx/graph.js";
import type { GptjConfig } from "./config.js";
import { blockWeights } from "./names.js";

/** T tokens of all rows end to end, R rows, L the longest, H heads, W a head's width, D = H·W the model's, F the MLP's. */

/** From q, k and v [T,D] before rotation to what the heads have gathered [T,D]. */
export type Attention = (q_TD: Value, k_TD: Value, v_TD: Value) => Value;

/** Weights of one block by their names below `transformer.h.<layer>.`, as a graph takes them. */
export function blockWeightInputs(g: GraphBuilder, config: GptjConfig): Record<string, Value> {
  const prefix = "transformer.h.0.";
  const specs = blockWeights(config, 0).map(({ name, shape }) => ({ name: name.slice(prefix.length), shape }));
  return Object.fromEntries(specs.map(({ name, shape }) => [name, g.input(name, "float32", ...shape)]));
}

/** GPT-J's block: one norm feeds attention and MLP side by side, and both are added to x[T,D]. */
export function block(
  g: GraphBuilder,
  config: GptjConfig,
  x_TD: Value,
  weights: Readonly<Record<string, Value>>,
  attention: Attention,
): Value {
  const weight = (name: string): Value => weights[name]!;
  const project = (input: Value, name: string): Value => g.matMul(input, weight(`${name}.weight`), { transB: true });
  const h_TD = g.layerNorm(x_TD, weight("ln_1.weight"), weight("ln_1.bias"), config.normEpsilon);
  const gathered_TD = attention(project(h_TD, "attn.q_proj"), project(h_TD, "attn.k_proj"), project(h_TD, "attn.v_proj"));
  const inner_TF = g.gelu(g.linear(h_TD, weight("mlp.fc_in.weight"), weight("mlp.fc_in.bias")));
  const mlp_TD = g.linear(inner_TF, weight("mlp.fc_out.weight"), weight("mlp.fc_out.bias"));
  return g.add(g.add(project(gathered_TD, "attn.out_proj"), mlp_TD), x_TD);
}

/** The inputs that say where rows lie; `packRows` makes them. */
export interface Geometry extends RowGeometry {
  /** [T, rotaryDim/2] of each token's position in its row */
  readonly cos: Value;
  readonly sin: Value;
  /** [L,L] 0 where a query may look, a huge negative number after it */
  readonly causal: Value;
  /** [L,1] 0 for a row's first query, which sees itself alone, else 1 */
  readonly choice: Value;
}

/** The geometry as inputs of a graph. */
export function geometryInputs(g: GraphBuilder, config: GptjConfig): Geometry {
  const { heads: H, rotaryDim } = config;
  return {
    cos: g.input("cos", "float32", "T", rotaryDim / 2),
    sin: g.input("sin", "float32", "T", rotaryDim / 2),
    slots: g.input("slots", "int32", "R", H, "L"),
    unpad: g.input("unpad", "int32", "T", H),
    valid: g.input("valid", "float32", "R", 1, "L", 1),
    causal: g.input("causal", "float32", "L", "L"),
    choice: g.input("choice", "float32", "L", 1),
  };
}

/** Causal attention inside each row. Padding is on the right, so the mask alone keeps real queries from seeing it. */
export function rowAttention(g: GraphBuilder, config: GptjConfig, geometry: Geometry): Attention {
  const rotate = (x: Value): Value => g.rotary(x, geometry.cos, geometry.sin, config.heads, config.rotaryDim);
  return (q_TD, k_TD, v_TD) => {
    const [q_RHLW, k_RHLW, v_RHLW] = [rotate(q_TD), rotate(k_TD), v_TD].map((x) => g.padRows(x, geometry)) as [Value, Value, Value];
    return g.unpadRows(g.attend(q_RHLW, k_RHLW, v_RHLW, geometry.causal, geometry.choice, 1 / Math.sqrt(config.headWidth)), geometry);
  };
}
