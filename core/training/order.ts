import type { RunConfig } from "../config/schema.js";
import { permutation } from "../rows/random.js";

/** The order of training rows. A step's rows are a function of the seed and the step index, so a resumed run needs no iterator's state. */

/** The training settings that decide the order. */
type OrderSettings = Pick<RunConfig["train"], "shards" | "microBatch" | "accumulation" | "epochs" | "maxSteps" | "seed">;

/** Epoch e draws from stream 1 + e of the seed; stream 0 belongs to the split into train and test. */
const FIRST_EPOCH_STREAM = 1;

let last: { readonly rows: number; readonly seed: number; readonly epoch: number; readonly order: Uint32Array } | undefined;

/** The order of an epoch's rows. The last order is kept, because the steps of an epoch come one after the other. */
function epochOrder(rows: number, seed: number, epoch: number): Uint32Array {
  if (last?.rows !== rows || last.seed !== seed || last.epoch !== epoch)
    last = { rows, seed, epoch, order: permutation(rows, seed, FIRST_EPOCH_STREAM + epoch) };
  return last.order;
}

function rowsPerStep(train: OrderSettings): number {
  return train.shards * train.microBatch * train.accumulation;
}

/** Numbers of steps of a training run over `rows` rows: in an epoch, and in all. */
export function trainingPlan(rows: number, train: OrderSettings): { readonly stepsPerEpoch: number; readonly totalSteps: number } {
  const stepsPerEpoch = Math.ceil(rows / rowsPerStep(train));
  return { stepsPerEpoch, totalSteps: Math.min(stepsPerEpoch * train.epochs, train.maxSteps ?? Infinity) };
}

/**
 * Row indices of the training split in step `step` (0-based), by micro-batch. An epoch's last step may have fewer rows and
 * micro-batches.
 */
export function rowsOfStep(rows: number, train: OrderSettings, step: number): number[][] {
  const { stepsPerEpoch } = trainingPlan(rows, train);
  const order = epochOrder(rows, train.seed, Math.floor(step / stepsPerEpoch));
  const first = (step % stepsPerEpoch) * rowsPerStep(train);
  const taken = order.subarray(first, first + rowsPerStep(train));
  const size = train.shards * train.microBatch;
  return Array.from({ length: Math.ceil(taken.length / size) }, (_, m) => [...taken.subarray(m * size, (m + 1) * size)]);
}
