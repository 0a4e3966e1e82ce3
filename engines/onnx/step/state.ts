import { elements } from "../../../core/graph/tensor.js";
import { allParameters, isMapped, isTrained, type Model, type ParameterSpec } from "../../../core/model/family.js";
import { MOMENTS, sliceOf } from "../../../core/training/slices.js";
import type { SafetensorsFile } from "../../../infra/weights/model-files.js";
import type { InitialWeights } from "../../../infra/weights/trained-model.js";
import type { TensorCopy } from "../../engine.js";
import type { Owner } from "./owner.js";

/** Filling and copying what a shard owns. Nothing is ever read from another attempt's memory. */

/** Fills the owner's slices with what training begins with; moments start at zero. */
export function fillFromBase(owner: Owner, { parameters }: Model, initial: InitialWeights): void {
  const specs = new Map(allParameters(parameters).map((spec) => [spec.name, spec]));
  for (const { name, first, weight } of owner.slices) if (weight.length > 0) initial.read(specs.get(name)!, first, weight);
}

/** Elements that are looked at in one go. */
const LOOK = 1 << 20;

/**
 * A shard's part of a frozen base: what cannot be used where it lies is read into memory, and at a first start the rest
 * is looked at, element by element, because training would blame its rows for what was wrong before. `looked` is called now and then.
 */
export function readFrozen(
  { parameters }: Model,
  initial: InitialWeights,
  { shards, shard, isFirst }: { readonly shards: number; readonly shard: number; readonly isFirst: boolean },
  memoryOf: (spec: ParameterSpec) => Float32Array,
  looked: () => void,
): void {
  const scratch = new Float32Array(LOOK);
  for (const spec of allParameters(parameters)) {
    if (isTrained(spec) || (isMapped(spec) && !isFirst)) continue;
    const { start, end } = sliceOf(elements(spec.shape), shards, shard);
    const target = isMapped(spec) ? null : memoryOf(spec);
    for (let first = start; first < end; first += LOOK) {
      const count = Math.min(LOOK, end - first);
      // reading throws for what is not finite
      initial.read(spec, first, target?.subarray(first, first + count) ?? scratch.subarray(0, count));
      looked();
    }
  }
}

/** Fills the owner's slices from its file of a checkpoint. */
export function fillFromCheckpoint(owner: Owner, file: SafetensorsFile): void {
  for (const slice of owner.slices)
    for (const [index, suffix] of MOMENTS.entries()) {
      const target = [slice.weight, slice.expAvg, slice.expAvgSq][index]!;
      if (target.length > 0) file.readFloats(slice.name + suffix, 0, target);
    }
}

/** A copy of all that a checkpoint holds of a shard, for another thread to write while training goes on. */
export function copyOf(owner: Owner): TensorCopy[] {
  return owner.slices.flatMap((slice) =>
    [slice.weight, slice.expAvg, slice.expAvgSq].map((values, index) => ({
      name: slice.name + MOMENTS[index]!,
      shape: slice.rows === 0 ? [0] : [slice.rows, ...(slice.count === slice.rows ? [] : [slice.count / slice.rows])],
      data: new Float32Array(values),
    })),
  );
}
