import { elements } from "../../../core/graph/tensor.js";
import type { WeightSpec } from "../../../core/model/family.js";
import { sliceOf } from "../../../core/training/slices.js";
import { addTo, sumRounded } from "./sums.js";

/** Lengths of what owners take from `fresh`, in this order: two moments and a gradient for each slice. */
export function ownedLengths(parameters: readonly WeightSpec[], shards: number, hosted: readonly number[]): number[] {
  return hosted.flatMap((shard) =>
    parameters.flatMap(({ shape }) => {
      const { start, end } = sliceOf(shape[0]!, shards, shard);
      const count = (end - start) * elements(shape.slice(1));
      return [count, count, count];
    }),
  );
}

/** One tensor's slice that a shard owns: whole rows of its first axis. */
export interface OwnedSlice {
  readonly name: string;
  /** index of the tensor among the model's parameters */
  readonly tensor: number;
  /** first element in the tensor, and how many */
  readonly first: number;
  readonly count: number;
  readonly firstRow: number;
  readonly rows: number;
  /** [rows, …] shared with every rank */
  readonly weight: Float32Array;
  /** AdamW's moments and the step's gradient, this shard's alone */
  readonly expAvg: Float32Array;
  readonly expAvgSq: Float32Array;
  readonly gradient: Float32Array;
}

/** What one shard keeps: its slices of every tensor, and sums over micro-batches while a step has several. */
export class Owner {
  readonly shard: number;
  readonly slices: readonly OwnedSlice[];
  private readonly byName: ReadonlyMap<string, OwnedSlice>;
  private readonly totals = new Map<string, Float64Array>();

  constructor(
    parameters: readonly WeightSpec[],
    shards: number,
    shard: number,
    weightOf: (name: string) => Float32Array,
    fresh: (count: number) => Float32Array,
  ) {
    this.shard = shard;
    this.slices = parameters.map(({ name, shape }, tensor) => {
      const range = sliceOf(shape[0]!, shards, shard);
      const rowSize = elements(shape.slice(1));
      const first = range.start * rowSize;
      const count = (range.end - range.start) * rowSize;
      const weight = weightOf(name).subarray(first, first + count);
      return {
        name,
        tensor,
        first,
        count,
        firstRow: range.start,
        rows: range.end - range.start,
        weight,
        expAvg: fresh(count),
        expAvgSq: fresh(count),
        gradient: fresh(count),
      };
    });
    this.byName = new Map(this.slices.map((slice) => [slice.name, slice]));
  }

  slice(name: string): OwnedSlice {
    return this.byName.get(name)!;
  }

  /**
   * Adds one micro-batch's gradients of a slice, in order of shards. `last` of `microBatches` rounds the sum to
   * fp32, once; a step of one micro-batch needs no float64 memory.
   */
  accumulate(name: string, sources: readonly Float32Array[], microBatch: number, microBatches: number): void {
    const slice = this.slice(name);
    if (microBatches === 1) return sumRounded(slice.gradient, sources);
    let total = this.totals.get(name);
    if (total === undefined) this.totals.set(name, (total = new Float64Array(slice.count)));
    if (microBatch === 0) total.fill(0);
    addTo(total, sources);
    if (microBatch === microBatches - 1) slice.gradient.set(total);
  }
}
