/**
 * Which shard owns which rows. A tensor is cut along its first axis; a shard is a logical rank; a worker is a process that
 * hosts some shards.
 */

/** A parameter's slices in a checkpoint's shard file, by the suffix of their names: the weight and AdamW's two moments, all fp32. */
export const MOMENTS = ["", ".exp_avg", ".exp_avg_sq"] as const;

/** Half-open range. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** The number of indices in a range. */
export function sizeOf(range: Range): number {
  return range.end - range.start;
}

/** The rows of a tensor's first axis that shard `shard` of `shards` owns; empty when there are fewer rows than shards. */
export function sliceOf(rows: number, shards: number, shard: number): Range {
  return { start: Math.floor((rows * shard) / shards), end: Math.floor((rows * (shard + 1)) / shards) };
}

/** The shards that worker `worker` of `workers` hosts, in order; workers ≤ shards. */
export function hostedShards(shards: number, workers: number, worker: number): number[] {
  const { start, end } = sliceOf(shards, workers, worker);
  return Array.from({ length: end - start }, (_, index) => start + index);
}
