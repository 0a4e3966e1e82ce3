import { packRows } from "../../../core/model/common/pack.js";
import type { Model, ParameterSpec } from "../../../core/model/family.js";
import type { TokenRow } from "../../../core/rows/token-rows.js";
import { floats, type Tensor } from "../../../core/graph/tensor.js";
import { planBlock } from "../../../engines/onnx/block-plan.js";
import { runSegments } from "../../../engines/onnx/run-segments.js";
import type { Sessions } from "../../../engines/onnx/sessions.js";
import type { Weights } from "../../engines/onnx/step/solo.js";

/** Logits [T,vocabulary] of every token of rows laid end to end, by the graphs that train. */
export async function trainingLogits(
  sessions: Sessions,
  { family, shape, parameters }: Model,
  weights: Weights,
  rows: readonly TokenRow[],
): Promise<Float32Array> {
  const { width: D } = shape;
  const training = family.training(shape, parameters);
  const plan = planBlock(training, parameters.blocks[0]!);
  const packed = packRows(rows, shape, training.tables);
  const { tokens: T, ids } = packed;
  const inputsOf = (specs: readonly ParameterSpec[]): Record<string, Tensor> =>
    Object.fromEntries(specs.map(({ name, input, shape: sizes }) => [input, floats(weights.get(name)!, ...sizes)]));
  const embedding = weights.get(parameters.embedding.name)!;
  const embedded = new Float32Array(T * D);
  ids.forEach((id, token) => embedded.set(embedding.subarray(id * D, (id + 1) * D), token * D));
  let x = floats(embedded, T, D);
  for (const specs of parameters.blocks) {
    const values = [...plan.kept, ...plan.forwardOnly].map(
      ([name, width]) => [name, floats(new Float32Array(T * width), T, width)] as const,
    );
    const y = floats(new Float32Array(T * D), T, D);
    const tensors = { parameters: inputsOf(specs), values: { ...packed.tables, ...Object.fromEntries(values) }, ends: { x, y } };
    await runSegments((graph, ins, outs) => sessions[graph]!.run(ins, outs), plan.forward, packed, tensors);
    x = y;
  }
  const { h } = await sessions[training.norm.forward.name]!.run({ x, ...inputsOf(parameters.norm) }, { h: null });
  const head = await sessions[training.head.forward.name]!.run({ h: h!, ...inputsOf(parameters.head) }, { logits: null });
  return head["logits"]!.data as Float32Array;
}
