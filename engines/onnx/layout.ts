import { elements } from "../../core/graph/tensor.js";
import { allParameters, isMapped, isTrained, trainedParameters, type Model, type WeightSpec } from "../../core/model/family.js";
import type { Capacity } from "../../core/training/step-plan.js";

/** Where everything lies in the memory that the ranks of one attempt share. D is the model's width. */

/** A run of elements inside one segment; offsets in bytes from the segment's start. */
export interface Region {
  readonly segment: number;
  readonly offset: number;
  readonly elements: number;
}

/** Where everything lies, by name or by shard. */
export interface SharedLayout {
  /** bytes of each segment; they follow each other in the file */
  readonly segments: readonly number[];
  /** fp32, by name, whole tensors: all but the frozen ones that are used where they lie in their files */
  readonly weights: ReadonlyMap<string, Region>;
  /** fp32 [layer modulo 3][shard]: one block's gradients, tensors at `blockOffsets` */
  readonly blockGradients: readonly (readonly Region[])[];
  /** element offset of each tensor in a block gradient buffer, in the order of a block's parameters that are trained */
  readonly blockOffsets: readonly number[];
  /** fp32 [shard]: gradients of the norm before the head, tensors at `normOffsets` */
  readonly normGradients: readonly Region[];
  readonly normOffsets: readonly number[];
  /** fp32 [positions, D]: the normed hidden rows that carry loss, shard after shard */
  readonly hidden: Region;
  /** fp32 [shard][positions, D]: each vocabulary slice's part of their gradient */
  readonly hiddenGradients: readonly Region[];
  /** fp32 [shard][2 x positions]: each vocabulary slice's maximum and sum of exponentials */
  readonly headSums: readonly Region[];
  /** fp32 [positions]: the logit of the target, written by the slice that holds it */
  readonly targetLogits: Region;
  /** fp32 [tokens, D]: gradient at the embedding's output, shard after shard */
  readonly embeddingGradients: Region;
  /** float64 [tensor][shard]: sums of squares */
  readonly squares: Region;
}

/** A segment is mapped in one piece; views above 4 GiB are refused by the bridge to native code. */
const SEGMENT_BYTES = 2 ** 30;
/** Tensors start on cache lines; segments on pages of any size in use. */
const ALIGNMENT = 64;
const PAGE_BYTES = 65536;

/** Element offsets of tensors that follow each other, each on a cache line; and the total. */
function pack(specs: readonly WeightSpec[]): { offsets: number[]; total: number } {
  const offsets: number[] = [];
  let total = 0;
  for (const spec of specs) {
    offsets.push(total);
    total += Math.ceil(elements(spec.shape) / 16) * 16;
  }
  return { offsets, total };
}

/** Lays out the shared memory of a run: a pure function, so that every rank finds everything without being told. */
export function sharedLayout({ shape, parameters }: Model, shards: number, capacity: Pick<Capacity, "tokens" | "positions">): SharedLayout {
  const segments: number[] = [0];
  const take = (count: number, bytesEach = 4): Region => {
    const bytes = Math.ceil((count * bytesEach) / ALIGNMENT) * ALIGNMENT;
    const last = segments.length - 1;
    if (segments[last]! > 0 && segments[last]! + bytes > SEGMENT_BYTES) segments.push(0);
    const segment = segments.length - 1;
    const offset = segments[segment]!;
    segments[segment] = offset + bytes;
    return { segment, offset, elements: count };
  };
  const perShard = (count: number): Region[] => Array.from({ length: shards }, () => take(count));
  const D = shape.width;
  const block = pack(parameters.blocks[0]!.filter(isTrained));
  const norm = pack(parameters.norm.filter(isTrained));
  const layout: SharedLayout = {
    segments,
    weights: new Map(allParameters(parameters).flatMap((spec) => (isMapped(spec) ? [] : [[spec.name, take(elements(spec.shape))]]))),
    blockGradients: Array.from({ length: Math.min(3, shape.layers) }, () => perShard(block.total)),
    blockOffsets: block.offsets,
    normGradients: perShard(norm.total),
    normOffsets: norm.offsets,
    hidden: take(capacity.positions * D),
    hiddenGradients: perShard(capacity.positions * D),
    headSums: perShard(2 * capacity.positions),
    targetLogits: take(capacity.positions),
    embeddingGradients: take(capacity.tokens * D),
    squares: take(trainedParameters(parameters).length * shards, 8),
  };
  segments.forEach((bytes, index) => (segments[index] = Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES));
  return layout;
}
