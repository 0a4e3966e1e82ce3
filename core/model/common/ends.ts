import { GraphBuilder, type Value } from "../../graph/graph.js";
import type { ParameterSpec, TrainingProgram } from "../family.js";
import { namedGradients } from "./named-gradients.js";
import { Weights } from "./weights.js";

/** What follows the blocks, the same in all families but for its parameters: a norm and a head. N positions, V words of a slice, D the model's width. */

/** The norm's graphs; `apply` is the norm itself. */
export function normPrograms(
  D: number,
  specs: readonly ParameterSpec[],
  apply: (g: GraphBuilder, x_ND: Value, weights: Weights) => Value,
): TrainingProgram["norm"] {
  const g = new GraphBuilder();
  const x_ND = g.input("x", "float32", "N", D);
  const weights = new Weights(g, specs);
  const h_ND = apply(g, x_ND, weights);
  const forward = g.program("norm.forward", { h: h_ND });
  const dh_ND = g.input("dh", "float32", "N", D);
  const slopes = namedGradients(g, [[h_ND, dh_ND]], { dx: x_ND, ...weights.trained(forward) });
  return { forward, backward: g.program("norm.backward", slopes) };
}

/** The head's graphs, over a slice of the vocabulary: a linear layer of the first parameter, with the second as its bias where there is one. */
export function headPrograms(D: number, specs: readonly ParameterSpec[]): TrainingProgram["head"] {
  const g = new GraphBuilder();
  const h_ND = g.input("h", "float32", "N", D);
  const weights = new Weights(g, specs, ({ input, shape, frozen = "float32" }) => g.input(input, frozen, "V", ...shape.slice(1)));
  const [weight_VD, bias_V] = specs.map(({ input }) => weights.get(input));
  const logits_NV = bias_V === undefined ? g.matMul(h_ND, weight_VD!, { transB: true }) : g.linear(h_ND, weight_VD!, bias_V);
  const shares_NV = g.softmax(logits_NV);
  // the largest share is exp(0) / Σ exp: softmax is one fast pass over [N,V], exp and sum would be three slow ones
  const sumexp_N = g.div(g.constant(1), g.max(shares_NV, [1], false));
  const max_N = g.max(logits_NV, [1], false);
  const forward = g.program("head.forward", { logits: logits_NV, shares: shares_NV, max: max_N, sumexp: sumexp_N });
  const slope_NV = g.input("slope", "float32", "N", "V");
  const factor_N1 = g.input("factor", "float32", "N", 1);
  // factor is apart from slope, so that a slice's shares need no other pass over [N,V] than the products
  const backward = g.program("head.backward", { dh: g.mul(g.matMul(slope_NV, weight_VD!), factor_N1) });
  if (specs[0]!.frozen !== undefined) return { forward, backward, weightBackward: null };
  const weightBackward = g.program("head.weight.backward", {
    // the product is made on its side and turned: a transposed [N,V] would be read against the grain
    [`d.${specs[0]!.input}`]: g.transpose(g.matMul(g.mul(h_ND, factor_N1), slope_NV, { transA: true }), 1, 0),
    ...(specs[1] !== undefined && { [`d.${specs[1].input}`]: g.reshape(g.matMul(factor_N1, slope_NV, { transA: true }), "V") }),
  });
  return { forward, backward, weightBackward };
}
