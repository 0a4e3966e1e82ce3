import { floats, type Tensor } from "../../../core/graph/tensor.js";
import type { MicroBatchPlan } from "../../../core/training/step-plan.js";
import type { Engine, HostedRows } from "./workplace.js";
import type { Owner } from "./owner.js";
import { sumRounded } from "./sums.js";

/**
 * The head, cut by vocabulary: a shard computes its slice of the logits for every position of the micro-batch that
 * carries loss, whoever's row it is in. So the gradient of its slice of the weight is born where it is owned.
 * N positions, D width, V words of a slice.
 */

/** Which micro-batch of how many, and the number of labels in the whole step. */
export interface MicroBatchOf {
  readonly index: number;
  readonly count: number;
  readonly labels: number;
}

/** Writes the normed rows that carry loss where everybody's head finds them. */
export async function shareHidden(engine: Engine, rows: readonly HostedRows[]): Promise<void> {
  const D = engine.config.width;
  const hidden = engine.view(engine.layout.hidden);
  for (const { plan, packed, inputs } of rows) {
    const N = plan.positions;
    const x = engine.rows(`loss-rows.${plan.shard}`, N, D);
    const last = inputs.at(-1)!;
    packed.lossAt.forEach((token, n) => x.set(last.subarray(token * D, (token + 1) * D), n * D));
    const h = hidden.subarray(plan.firstPosition * D, (plan.firstPosition + N) * D);
    await engine.run("finalNormForward", { x: floats(x, N, D), ...normWeights(engine) }, { h: floats(h, N, D) });
  }
}

/** Positions whose logits are in memory at once. */
const CHUNK = 256;

/** What the second half of the head needs of the first, for one slice of the vocabulary. */
interface Slice {
  readonly owner: Owner;
  /** [N,V] softmax over the slice */
  readonly shares: Float32Array;
}

/** Loss of each position [N] in float64, from its labels [N]; the gradients of the head's weights, and in parts those of the hidden rows. */
export async function head(engine: Engine, batch: MicroBatchPlan, targets: Int32Array, of: MicroBatchOf): Promise<Float64Array> {
  const N = batch.positions;
  const targetLogits = engine.view(engine.layout.targetLogits);
  const slices: Slice[] = [];
  for (const owner of engine.owners) if (engine.headShards.includes(owner.shard)) slices.push(await headForward(engine, owner, N, targets));
  engine.barrier();
  const logZ = logPartition(engine, N);
  const factors: Float32Array[] = [];
  for (const slice of slices) factors.push(await headBackward(engine, slice, logZ, targets, of));
  const arrival = engine.arrive();
  // its own gradient is nobody else's business: it is made while the others finish theirs
  for (const [index, slice] of slices.entries()) await headWeightBackward(engine, slice, factors[index]!, of);
  engine.wait(arrival);
  return logZ.map((value, n) => value - targetLogits[n]!);
}

async function headForward(engine: Engine, owner: Owner, N: number, targets: Int32Array): Promise<Slice> {
  const D = engine.config.width;
  const { weight, firstRow, rows: V } = owner.slice("lm_head.weight");
  const bias = owner.slice("lm_head.bias").weight;
  const shares = engine.buffer(`shares.${owner.shard}`, N * V, engine.capacity.positions * V);
  const sums = engine.view(engine.layout.headSums[owner.shard]!);
  const hidden = engine.view(engine.layout.hidden);
  const targetLogits = engine.view(engine.layout.targetLogits);
  for (let first = 0; first < N; first += CHUNK) {
    const end = Math.min(N, first + CHUNK);
    const C = end - first;
    const logits = engine.buffer("logits", C * V, CHUNK * Math.ceil(engine.config.vocabulary / engine.shards));
    await engine.run(
      "headForward",
      { h: floats(hidden.subarray(first * D, end * D), C, D), weight: floats(weight, V, D), bias: floats(bias, V) },
      {
        logits: floats(logits, C, V),
        shares: floats(shares.subarray(first * V, end * V), C, V),
        max: floats(sums.subarray(first, end), C),
        sumexp: floats(sums.subarray(N + first, N + end), C),
      },
    );
    for (let n = first; n < end; n++) {
      const word = targets[n]! - firstRow;
      if (word >= 0 && word < V) targetLogits[n] = logits[(n - first) * V + word]!;
    }
  }
  return { owner, shares };
}

/** A slice without weight: its shares then count next to nothing, and one over it is a number still. */
const SMALLEST = 1e-20;

/** A slice's part of the hidden rows' gradient. Turns `shares` into the slope at the logits, and returns the factor [N] that it lacks. */
async function headBackward(
  engine: Engine,
  { owner, shares }: Slice,
  logZ: Float64Array,
  targets: Int32Array,
  of: MicroBatchOf,
): Promise<Float32Array> {
  const D = engine.config.width;
  const N = logZ.length;
  const { weight, firstRow, rows: V } = owner.slice("lm_head.weight");
  const sums = engine.view(engine.layout.headSums[owner.shard]!);
  const factor = new Float32Array(N);
  for (let n = 0; n < N; n++) {
    // the part of all probability that lies in this slice
    const part = Math.max(SMALLEST, sums[N + n]! * Math.exp(sums[n]! - logZ[n]!));
    factor[n] = part / of.labels;
    const word = targets[n]! - firstRow;
    if (word >= 0 && word < V) shares[n * V + word]! -= 1 / part;
  }
  const dh = engine.view(engine.layout.hiddenGradients[owner.shard]!).subarray(0, N * D);
  await engine.run(
    "headBackward",
    { slope: floats(shares, N, V), factor: floats(factor, N, 1), weight: floats(weight, V, D) },
    { dh: floats(dh, N, D) },
  );
  return factor;
}

/** The gradient of a slice's weights. */
async function headWeightBackward(engine: Engine, { owner, shares }: Slice, factor: Float32Array, of: MicroBatchOf): Promise<void> {
  const D = engine.config.width;
  const N = factor.length;
  const weight = owner.slice("lm_head.weight");
  const bias = owner.slice("lm_head.bias");
  const V = weight.rows;
  const only = of.count === 1;
  const dWeight = only ? weight.gradient : engine.buffer(`d.head.weight.${owner.shard}`, V * D, V * D);
  const dBias = only ? bias.gradient : engine.buffer(`d.head.bias.${owner.shard}`, V, V);
  const hidden = engine.view(engine.layout.hidden).subarray(0, N * D);
  await engine.run(
    "headWeightBackward",
    { slope: floats(shares, N, V), factor: floats(factor, N, 1), h: floats(hidden, N, D) },
    { "d.weight": floats(dWeight, V, D), "d.bias": floats(dBias, V) },
  );
  if (only) return;
  owner.accumulate(weight.name, [dWeight], of.index, of.count);
  owner.accumulate(bias.name, [dBias], of.index, of.count);
}

/** log Σ exp(logit) of each position in float64, slices combined in the order of shards. */
function logPartition(engine: Engine, N: number): Float64Array {
  const slices = engine.headShards.map((shard) => engine.view(engine.layout.headSums[shard]!));
  return Float64Array.from({ length: N }, (_, n) => {
    let max = -Infinity;
    for (const slice of slices) max = Math.max(max, slice[n]!);
    let sum = 0;
    for (const slice of slices) sum += slice[N + n]! * Math.exp(slice[n]! - max);
    return max + Math.log(sum);
  });
}

/** Brings the hidden rows' gradient through the final norm, to where the blocks' backward pass starts. */
export async function headToBlocks(engine: Engine, rows: readonly HostedRows[]): Promise<void> {
  const D = engine.config.width;
  const parts = engine.headShards.map((shard) => engine.view(engine.layout.hiddenGradients[shard]!));
  for (const { plan, packed, gradient } of rows) {
    const N = plan.positions;
    const dh = engine.rows(`d.hidden.${plan.shard}`, N, D);
    sumRounded(
      dh,
      parts.map((part) => part.subarray(plan.firstPosition * D, (plan.firstPosition + N) * D)),
    );
    const dx = engine.rows(`d.loss-rows.${plan.shard}`, N, D);
    const norm = engine.view(engine.layout.normGradients[plan.shard]!);
    await engine.run(
      "finalNormBackward",
      { x: floats(engine.rows(`loss-rows.${plan.shard}`, N, D), N, D), dh: floats(dh, N, D), ...normWeights(engine) },
      { dx: floats(dx, N, D), "d.weight": floats(norm.subarray(0, D), D), "d.bias": floats(norm.subarray(D), D) },
    );
    gradient.fill(0);
    packed.lossAt.forEach((token, n) => gradient.set(dx.subarray(n * D, (n + 1) * D), token * D));
  }
}

function normWeights(engine: Engine): Record<string, Tensor> {
  const D = engine.config.width;
  return { weight: floats(engine.weight("transformer.ln_f.weight"), D), bias: floats(engine.weight("transformer.ln_f.bias"), D) };
}
