import type { ModelFiles, SafetensorsFile } from "../../../infra/weights/model-files.js";
import { MOMENTS } from "../../../core/training/slices.js";
import type { TensorCopy } from "../../engine.js";
import type { Owner } from "./owner.js";

/** Filling and copying what a shard owns. Nothing is ever read from another attempt's memory. */

/** Fills the owner's slices from the base model; moments start at zero. */
export function fillFromBase(owner: Owner, model: ModelFiles): void {
  for (const { name, first, weight } of owner.slices) if (weight.length > 0) model.readFloats(name, first, weight);
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
