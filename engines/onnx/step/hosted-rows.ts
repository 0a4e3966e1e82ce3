import { fillDropout } from "../../../core/model/lora/dropout.js";
import { lookUp } from "../look-up.js";
import { floats, type Tensor } from "../../../core/graph/tensor.js";
import { packRows, type PackedRows } from "../../../core/model/common/pack.js";
import type { ShardRows } from "../../../core/training/step-plan.js";
import type { Workplace } from "./workplace.js";

/** A hosted shard's rows of a micro-batch on their way through the model. T tokens, D the model's width, V its words. */
export interface HostedRows {
  readonly plan: ShardRows;
  readonly packed: PackedRows;
  /** [layers + 1]: x[T,D], each block's input, and the last one's output */
  readonly inputs: readonly Tensor[];
  /** [layers]: a block's values and the tables by name; without the memory to keep them, all blocks use one place */
  readonly values: readonly Readonly<Record<string, Tensor>>[];
  /** [T,D] gradient on its way down */
  gradient: Float32Array;
  /** the share of their inputs that adapters do not see */
  readonly dropout: number;
}

/** Lays a hosted shard's rows end to end and looks up their embeddings; buffers are kept from step to step. */
export function hostRows(place: Workplace, plan: ShardRows, dropout: number = place.dropout.share): HostedRows {
  const { model, training, block } = place;
  const { width: D, layers } = model.shape;
  const T = plan.tokens;
  const packed = packRows(plan.rows, model.shape, training.tables);
  const inputs = Array.from({ length: layers + 1 }, (_, layer) => floats(place.rows(`x.${plan.shard}.${layer}`, T, D), T, D));
  lookUp(place.weight(model.parameters.embedding), packed.ids, inputs[0]!.data as Float32Array);

  const values = (widths: ReadonlyMap<string, number>, where: string): Record<string, Tensor> =>
    Object.fromEntries([...widths].map(([name, width]) => [name, floats(place.rows(`block.${name}${where}`, T, width), T, width)]));
  const common = { ...packed.tables, ...values(block.drops, ""), ...values(block.forwardOnly, ""), ...values(block.backwardOnly, "") };
  const valuesOf = (where: string): Record<string, Tensor> => ({ ...common, ...values(block.kept, where) });
  const onePlace = place.keepActivations ? null : valuesOf("");
  return {
    plan,
    packed,
    inputs,
    values: Array.from({ length: layers }, (_, layer) => onePlace ?? valuesOf(`.${plan.shard}.${layer}`)),
    gradient: place.rows(`dx.${plan.shard}`, T, D),
    dropout,
  };
}

/** Draws what a layer's adapters do not see of these rows; the same each time, so that nothing of it is kept. */
export function drawDropout(place: Workplace, { plan, values, dropout }: HostedRows, layer: number): void {
  const { seed } = place.dropout;
  [...place.block.drops].forEach(([name, width], module) => {
    const drop_TI = values[layer]![name]!.data as Float32Array;
    fillDropout(drop_TI, width, dropout, plan.rows, { seed, step: place.stepIndex, layer, module });
  });
}
