import type { RunConfig } from "../../../core/config/schema.js";
import { nextScored } from "../../../core/rows/labels.js";
import { isTied, isTrained } from "../../../core/model/family.js";
import { nonFiniteError } from "../../non-finite.js";
import { adamwStep } from "../adamw.js";
import type { MicroBatchPlan, StepPlan } from "../../../core/training/step-plan.js";
import { blocksBackward, blocksForward } from "./blocks.js";
import { head, headToBlocks, shareHidden, type StepPart } from "./head.js";
import { hostRows } from "./hosted-rows.js";
import { allFinite, sumOfSquares } from "./sums.js";
import type { Workplace } from "./workplace.js";

/** One optimizer step, from rows to updated weights. */

/** What a step came to, the same on every rank. */
export interface StepOutcome {
  /** mean over the step's labels; null when it has none */
  readonly loss: number | null;
  /** before clipping; null when the step has no labels */
  readonly norm: number | null;
  readonly updated: boolean;
}

/** Gradients by forward and backward pass, the norm, the update. A step that isn't finite is computed once more, then fails; it updates nothing. */
export async function trainStep(
  place: Workplace,
  plan: StepPlan,
  train: RunConfig["train"],
  learningRate: number,
  step: number,
  updates: number,
): Promise<StepOutcome> {
  place.stepIndex = step;
  if (plan.positions === 0) return { loss: null, norm: null, updated: false };
  const bad = new Set<number>();
  let result = await gradients(place, plan, null);
  if (!isFinite(result)) result = await gradients(place, plan, bad);
  if (!isFinite(result)) throw nonFiniteError(plan, step, result, bad);
  const { loss, norm } = result;
  const settings = {
    learningRate,
    beta1: train.betas[0],
    beta2: train.betas[1],
    epsilon: train.epsilon,
    weightDecay: train.weightDecay,
    step: updates + 1,
    gradScale: Math.min(1, train.maxGradNorm / (norm + 1e-6)),
  };
  const started = performance.now();
  for (const owner of place.owners)
    for (const slice of owner.slices) {
      adamwStep(slice.weight, slice.expAvg, slice.expAvgSq, slice.gradient, settings);
      place.control.step();
    }
  place.spend("optimizer", started);
  return { loss, norm, updated: true };
}

interface Totals {
  readonly loss: number;
  readonly norm: number;
}

function isFinite({ loss, norm }: Totals): boolean {
  return Number.isFinite(loss) && Number.isFinite(norm);
}

/** Leaves the step's gradient with its owners. `bad`, where given, collects the shards whose loss or gradient isn't finite. */
async function gradients(place: Workplace, plan: StepPlan, bad: Set<number> | null): Promise<Totals> {
  place.embedding.clear();
  let loss = 0;
  for (const [index, batch] of plan.microBatches.entries()) {
    const part: StepPart = { index, count: plan.microBatches.length, labels: plan.positions };
    for (const value of await microBatch(place, batch, part, bad)) loss += value;
  }
  const started = performance.now();
  const { parameters } = place.model;
  if (isTrained(parameters.embedding)) place.embedding.finish(place.owned(parameters.embedding), isTied(parameters));
  place.spend("reduction", started);
  return { loss: loss / plan.positions, norm: norm(place) };
}

/** Returns the loss of each position, the same on every rank. */
async function microBatch(place: Workplace, batch: MicroBatchPlan, part: StepPart, bad: Set<number> | null): Promise<Float64Array> {
  const rows = batch.shards.filter(({ shard }) => place.hosted.includes(shard)).map((plan) => hostRows(place, plan));
  await blocksForward(place, rows);
  await shareHidden(place, rows);
  place.barrier();
  const losses = await head(place, batch, targetsOf(batch), part);
  await headToBlocks(place, rows);
  await blocksBackward(place, rows, batch, part);
  if (bad !== null) findBad(place, batch, losses, bad);
  return losses;
}

/** A value that isn't finite shows in a shard's losses, or at the latest in its gradient at the embedding. */
function findBad(place: Workplace, batch: MicroBatchPlan, losses: Float64Array, bad: Set<number>): void {
  const D = place.model.shape.width;
  const shared = place.view(place.layout.embeddingGradients);
  for (const { shard, firstPosition, positions, firstToken, tokens } of batch.shards) {
    const finite = losses.subarray(firstPosition, firstPosition + positions).every(Number.isFinite);
    if (!finite || !allFinite(shared.subarray(firstToken * D, (firstToken + tokens) * D))) bad.add(shard);
  }
}

/** The labels of a micro-batch's positions, in the order of shards and rows. */
export function targetsOf(batch: MicroBatchPlan): Int32Array {
  const targets = new Int32Array(batch.positions);
  let count = 0;
  for (const { rows } of batch.shards)
    for (const { labels } of rows)
      for (let at = nextScored(labels, 0); at < labels.length; at = nextScored(labels, at + 1)) targets[count++] = labels[at]!;
  return targets;
}

/** Norm of all gradients: float64 sums in the order of tensors, slices, elements. */
function norm(place: Workplace): number {
  const started = performance.now();
  const squares = place.doubles(place.layout.squares);
  for (const owner of place.owners)
    for (const slice of owner.slices) squares[slice.tensor * place.shards + owner.shard] = sumOfSquares(slice.gradient);
  place.spend("optimizer", started);
  place.barrier();
  let total = 0;
  for (const square of squares) total += square;
  return Math.sqrt(total);
}
