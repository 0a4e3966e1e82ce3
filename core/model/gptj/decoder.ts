import { bytesOf, GraphBuilder, type Bytes, type Value } from "../../graph/graph.js";
import { encode } from "../../graph/lower.js";
import type { Graph } from "../../graph/tensor.js";
import { rotaryTables } from "../common/rotary.js";
import type { WeightSpec } from "../family.js";
import { block, type Attention } from "./block.js";
import type { GptjShape } from "./config.js";
import { gptjParameters } from "./parameters.js";

/** B sequences of S new tokens each after P old ones, K = P + S; names that transformers.js expects. */
const [B, S, P, K] = ["batch_size", "sequence_length", "past_sequence_length", "total_sequence_length"] as const;

/** See `ModelFamily.decoder`; the caches are past_key_values.<layer>.key|value[B,H,P,W], and present.<layer>.key|value[B,H,K,W]. */
export function decoderGraph(shape: GptjShape, bytes: (parameter: WeightSpec) => Bytes | null): Graph {
  const { heads: H, headWidth: W, width: D } = shape;
  const g = new GraphBuilder();
  const ids_BS = g.input("input_ids", "int64", B, S);
  const mask_BK = g.input("attention_mask", "int64", B, K);
  const positions_T = g.reshape(g.input("position_ids", "int64", B, S), "T");
  const keep = g.input("num_logits_to_keep", "int64");

  const tables = rotaryTables(shape.positions, shape.rotaryDim);
  const [cos_TR, sin_TR] = (["cos", "sin"] as const).map((name) =>
    g.gather(g.initializer(`rotary.${name}`, "float32", tables[name].shape, bytesOf(tables[name])), positions_T),
  ) as [Value, Value];
  const parameters = gptjParameters(shape);
  const weight = (spec: WeightSpec): Value => {
    const where = bytes(spec);
    return where === null ? g.input(spec.name, "float32", ...spec.shape) : g.initializer(spec.name, "float32", spec.shape, where);
  };

  const presents: Record<string, Value> = {};
  const cached = (layer: number, kind: "key" | "value", new_BHSW: Value): Value => {
    const past_BHPW = g.input(`past_key_values.${layer}.${kind}`, "float32", B, H, P, W);
    return (presents[`present.${layer}.${kind}`] = g.concat([past_BHPW, new_BHSW], 2, K));
  };
  const attentionOf = (layer: number): Attention => {
    const rotate = (x_TD: Value): Value => g.rotary(x_TD, cos_TR, sin_TR, H, shape.rotaryDim);
    return (q_TD, k_TD, v_TD) => {
      const [q_BHSW, k_BHSW, v_BHSW] = [rotate(q_TD), rotate(k_TD), v_TD].map((x_TD) => g.splitHeads(x_TD, ids_BS, H)) as [
        Value,
        Value,
        Value,
      ];
      const k_BHKW = cached(layer, "key", k_BHSW);
      const v_BHKW = cached(layer, "value", v_BHSW);
      const scores_BHSK = g.maskScores(g.matMul(q_BHSW, k_BHKW, { transB: true, alpha: 1 / Math.sqrt(W) }), mask_BK);
      return g.reshape(g.transpose(g.matMul(g.softmax(scores_BHSK), v_BHKW), 0, 2, 1, 3), "T", D);
    };
  };

  let x_TD = g.gather(weight(parameters.embedding), g.reshape(ids_BS, "T"));
  for (const [layer, specs] of parameters.blocks.entries()) {
    const weights = Object.fromEntries(specs.map((spec) => [spec.input, weight(spec)]));
    x_TD = block(g, shape, x_TD, weights, attentionOf(layer));
  }
  const [normWeight, normBias] = parameters.norm.map(weight) as [Value, Value];
  const [headWeight, headBias] = parameters.head.map(weight) as [Value, Value];
  const h_MD = g.layerNorm(g.lastRows(x_TD, ids_BS, keep, "M"), normWeight, normBias, shape.normEpsilon);
  const logits_BNV = g.groupRows(g.linear(h_MD, headWeight, headBias), ids_BS, "num_logits");
  return encode(g.program("gptj.decoder", { logits: logits_BNV, ...presents }));
}
