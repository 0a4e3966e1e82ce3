import type { Sessions } from "../../../../engines/onnx/step/workplace.js";
import { packRows } from "../../../../core/model/common/pack.js";
import type { TokenRow } from "../../../../core/rows/token-rows.js";
import type { GptjConfig } from "../../../../core/model/gptj/config.js";
import { activations, blockForward } from "../../../../core/model/gptj/forward.js";
import { blockWeights } from "../../../../core/model/gptj/parameters.js";
import { floats, type Tensor } from "../../../../core/graph/tensor.js";
import type { Weights } from "../../../engines/onnx/step/solo.js";

/** Logits [T,vocabulary] of every token of rows laid end to end, by the graphs that train. */
export async function trainingLogits(
  sessions: Sessions,
  config: GptjConfig,
  weights: Weights,
  rows: readonly TokenRow[],
): Promise<Float32Array> {
  const { width: D, vocabulary: V } = config;
  const packed = packRows(rows, config);
  const { tokens: T, ids } = packed;
  const weight = (name: string, ...shape: number[]): Tensor => floats(weights.get(name)!, ...shape);
  const embedding = weights.get("transformer.wte.weight")!;
  const embedded = new Float32Array(T * D);
  ids.forEach((id, token) => embedded.set(embedding.subarray(id * D, (id + 1) * D), token * D));
  let x = floats(embedded, T, D);
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `transformer.h.${layer}.`;
    const feeds = blockWeights(config, layer).map(({ name, shape }) => [name.slice(prefix.length), weight(name, ...shape)] as const);
    const y = floats(new Float32Array(T * D), T, D);
    const kept = activations(config, T, (_, width) => new Float32Array(T * width));
    await blockForward((graph, ins, outs) => sessions[graph].run(ins, outs), packed, x, Object.fromEntries(feeds), kept, y);
    x = y;
  }
  const norm = { weight: weight("transformer.ln_f.weight", D), bias: weight("transformer.ln_f.bias", D) };
  const { h } = await sessions.finalNormForward.run({ x, ...norm }, { h: null });
  const head = { weight: weight("lm_head.weight", V, D), bias: weight("lm_head.bias", V) };
  return (await sessions.headForward.run({ h: h!, ...head }, { logits: null }))["logits"]!.data as Float32Array;
}
