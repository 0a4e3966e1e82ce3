import { elements, floats, type Tensor } from "../../../core/graph/tensor.js";
import { sliceOf } from "../../../core/training/slices.js";
import type { MicroBatchPlan } from "../../../core/training/step-plan.js";
import type { HostedRows } from "./hosted-rows.js";
import { sumRounded } from "./sums.js";
import type { Workplace } from "./workplace.js";

/**
 * The head, cut by vocabulary: a shard computes its slice of the logits for every position of the micro-batch that
 * carries loss, whichever shard has the row. So the gradient of its slice of the weight is born where it is owned.
 * N positions, C of them at a time, D the model's width, V words of a slice.
 */

/** Which micro-batch of how many, and the number of labels in the whole step. */
export interface StepPart {
  readonly index: number;
  readonly count: number;
  readonly labels: number;
}

/** Norms the rows that carry loss, to where the head of every rank finds them. */
export async function shareHidden(place: Workplace, rows: readonly HostedRows[]): Promise<void> {
  const D = place.model.shape.width;
  const hidden_ND = place.view(place.layout.hidden);
  for (const { plan, packed, inputs } of rows) {
    const N = plan.positions;
    const x_ND = place.rows(`loss-rows.${plan.shard}`, N, D);
    const last_TD = inputs.at(-1)!.data as Float32Array;
    packed.lossAt.forEach((token, n) => x_ND.set(last_TD.subarray(token * D, (token + 1) * D), n * D));
    const h_ND = hidden_ND.subarray(plan.firstPosition * D, (plan.firstPosition + N) * D);
    await place.run(place.training.norm.forward.name, { x: floats(x_ND, N, D), ...place.normParameters }, { h: floats(h_ND, N, D) });
  }
}

/** Positions whose logits are in memory at once. */
const CHUNK = 256;

/** What the second half of the head needs of the first, for one slice of the vocabulary. */
interface HeadSlice {
  readonly shard: number;
  /** its first word, and V */
  readonly firstWord: number;
  readonly words: number;
  /** the head's parameters as graphs take them */
  readonly parameters: Readonly<Record<string, Tensor>>;
  /** [N,V] softmax over the slice */
  readonly shares_NV: Float32Array;
}

/** Loss of each position [N] in float64, from its labels [N]. Leaves the gradients of the head's parameters, and in parts those of the hidden rows. */
export async function head(place: Workplace, batch: MicroBatchPlan, targets_N: Int32Array, part: StepPart): Promise<Float64Array> {
  const { slices, logZ_N, losses_N } = await headLosses(place, batch, targets_N);
  const factors: Float32Array[] = [];
  for (const slice of slices) factors.push(await headBackward(place, slice, logZ_N, targets_N, part));
  const arrival = place.arrive();
  // no other rank waits for these gradients: they are made while the others finish theirs
  const { weightBackward } = place.training.head;
  if (weightBackward !== null)
    for (const [index, slice] of slices.entries()) await headWeightBackward(place, weightBackward.name, slice, factors[index]!, part);
  place.wait(arrival);
  return losses_N;
}

/** The first half of the head: loss and log Σ exp(logit) of each position [N] in float64, and what the second half needs of the hosted slices. */
export async function headLosses(
  place: Workplace,
  { positions: N }: MicroBatchPlan,
  targets_N: Int32Array,
): Promise<{ readonly slices: readonly HeadSlice[]; readonly logZ_N: Float64Array; readonly losses_N: Float64Array }> {
  const targetLogits_N = place.view(place.layout.targetLogits);
  const slices: HeadSlice[] = [];
  for (const shard of place.hosted) if (place.headShards.includes(shard)) slices.push(await headForward(place, shard, N, targets_N));
  place.barrier();
  const logZ_N = logPartition(place, N);
  return { slices, logZ_N, losses_N: logZ_N.map((value, n) => value - targetLogits_N[n]!) };
}

async function headForward(place: Workplace, shard: number, N: number, targets_N: Int32Array): Promise<HeadSlice> {
  const { width: D, vocabulary } = place.model.shape;
  const specs = place.model.parameters.head;
  const { start: firstWord, end } = sliceOf(vocabulary, place.shards, shard);
  const V = end - firstWord;
  const parameters = Object.fromEntries(specs.map((spec) => [spec.input, wordsOf(place.weight(spec), firstWord, V)]));
  const shares_NV = place.buffer(`shares.${shard}`, N * V, place.capacity.positions * V);
  const sums_2N = place.view(place.layout.headSums[shard]!);
  const hidden_ND = place.view(place.layout.hidden);
  const targetLogits_N = place.view(place.layout.targetLogits);
  for (let first = 0; first < N; first += CHUNK) {
    const last = Math.min(N, first + CHUNK);
    const C = last - first;
    const logits_CV = place.buffer("logits", C * V, CHUNK * Math.ceil(vocabulary / place.shards));
    await place.run(
      place.training.head.forward.name,
      { h: floats(hidden_ND.subarray(first * D, last * D), C, D), ...parameters },
      {
        logits: floats(logits_CV, C, V),
        shares: floats(shares_NV.subarray(first * V, last * V), C, V),
        max: floats(sums_2N.subarray(first, last), C),
        sumexp: floats(sums_2N.subarray(N + first, N + last), C),
      },
    );
    for (let n = first; n < last; n++) {
      const word = targets_N[n]! - firstWord;
      if (word >= 0 && word < V) targetLogits_N[n] = logits_CV[(n - first) * V + word]!;
    }
  }
  return { shard, firstWord, words: V, parameters, shares_NV };
}

/** The rows of a parameter of the head for V words. */
function wordsOf({ type, shape, data }: Tensor, firstWord: number, V: number): Tensor {
  const size = elements(shape.slice(1));
  return { type, shape: [V, ...shape.slice(1)], data: data.subarray(firstWord * size, (firstWord + V) * size) } as Tensor;
}

/** A slice without weight: its shares then count next to nothing, and one over it is a number still. */
const SMALLEST = 1e-20;

/** A slice's part of the hidden rows' gradient. Turns the shares into the slope at the logits, and returns the factor [N] that it lacks. */
async function headBackward(
  place: Workplace,
  { shard, firstWord, words: V, parameters, shares_NV }: HeadSlice,
  logZ_N: Float64Array,
  targets_N: Int32Array,
  { labels }: StepPart,
): Promise<Float32Array> {
  const D = place.model.shape.width;
  const N = logZ_N.length;
  const sums_2N = place.view(place.layout.headSums[shard]!);
  const factor_N = new Float32Array(N);
  for (let n = 0; n < N; n++) {
    // the part of all probability that lies in this slice
    const part = Math.max(SMALLEST, sums_2N[N + n]! * Math.exp(sums_2N[n]! - logZ_N[n]!));
    factor_N[n] = part / labels;
    const word = targets_N[n]! - firstWord;
    if (word >= 0 && word < V) shares_NV[n * V + word]! -= 1 / part;
  }
  const dh_ND = place.view(place.layout.hiddenGradients[shard]!).subarray(0, N * D);
  await place.run(
    place.training.head.backward.name,
    { slope: floats(shares_NV, N, V), factor: floats(factor_N, N, 1), ...parameters },
    { dh: floats(dh_ND, N, D) },
  );
  return factor_N;
}

/** The gradients of a slice's parameters. */
async function headWeightBackward(
  place: Workplace,
  graph: string,
  { shard, words: V, shares_NV }: HeadSlice,
  factor_N: Float32Array,
  { index, count }: StepPart,
): Promise<void> {
  const D = place.model.shape.width;
  const N = factor_N.length;
  const specs = place.model.parameters.head;
  const owner = place.owners.find((each) => each.shard === shard)!;
  const gradients = specs.map((spec) => {
    const { gradient } = owner.slice(spec.name);
    return count === 1 ? gradient : place.buffer(`d.head.${spec.input}.${shard}`, gradient.length, gradient.length);
  });
  const hidden_ND = place.view(place.layout.hidden).subarray(0, N * D);
  await place.run(
    graph,
    { slope: floats(shares_NV, N, V), factor: floats(factor_N, N, 1), h: floats(hidden_ND, N, D) },
    Object.fromEntries(specs.map((spec, at) => [`d.${spec.input}`, floats(gradients[at]!, V, ...spec.shape.slice(1))])),
  );
  if (count > 1) specs.forEach(({ name }, at) => owner.accumulate(name, [gradients[at]!], index, count));
}

/** log Σ exp(logit) of each position [N] in float64, slices combined in the order of shards. */
function logPartition(place: Workplace, N: number): Float64Array {
  const slices = place.headShards.map((shard) => place.view(place.layout.headSums[shard]!));
  return Float64Array.from({ length: N }, (_, n) => {
    let max = -Infinity;
    for (const slice of slices) max = Math.max(max, slice[n]!);
    let sum = 0;
    for (const slice of slices) sum += slice[N + n]! * Math.exp(slice[n]! - max);
    return max + Math.log(sum);
  });
}

/** Brings the hidden rows' gradient through the norm before the head, to where the blocks' backward pass starts. */
export async function headToBlocks(place: Workplace, rows: readonly HostedRows[]): Promise<void> {
  const D = place.model.shape.width;
  const parts = place.headShards.map((shard) => place.view(place.layout.hiddenGradients[shard]!));
  for (const { plan, packed, gradient } of rows) {
    const N = plan.positions;
    const dh_ND = place.rows(`d.hidden.${plan.shard}`, N, D);
    sumRounded(
      dh_ND,
      parts.map((part_ND) => part_ND.subarray(plan.firstPosition * D, (plan.firstPosition + N) * D)),
    );
    const x_ND = place.rows(`loss-rows.${plan.shard}`, N, D);
    const dx_ND = place.rows(`d.loss-rows.${plan.shard}`, N, D);
    await place.run(
      place.training.norm.backward.name,
      { x: floats(x_ND, N, D), dh: floats(dh_ND, N, D), ...place.normParameters },
      { dx: floats(dx_ND, N, D), ...place.normGradients(plan.shard) },
    );
    gradient.fill(0);
    packed.lossAt.forEach((token, n) => gradient.set(dx_ND.subarray(n * D, (n + 1) * D), token * D));
  }
}
