import type { RunConfig } from "../config/schema.js";
import { permutation } from "../rows/random.js";

/** The order of training rows: a step's are a function of seed and step, so that a resume needs no iterator's state. */

/** What of the training settings decides the order. */
type OrderSettings = Pick<RunConfig["train"], "shards" | "microBatch" | "accumulation" | "epochs" | "maxSteps" | "seed">;

/** Epoch e is stream 1 + e of its seed; stream 0 belongs to the split into train and test. */
const FIRST_EPOCH_STREAM = 1;

let last: { readonly rows: number; readonly seed: number; readonly epoch: number; readonly order: Uint32Array } | undefined;

/** The order of an epoch's rows; the last one is kept, for the steps of an epoch come one after the other. */
function epochOrder(rows: number, seed: number, epoch: number): Uint32Array {
  if (last?.rows !== rows || last.seed !== seed || last.epoch !== epoch)
    last = { rows, seed, epoch, order: permutation(rows, seed, FIRST_EPOCH_STREAM + epoch) };
  return last.order;
}

function rowsPerStep(train: OrderSettings): number {
  return train.shards * train.microBatch * train.accumulation;
}

/** How many steps a training run over `rows` rows has. */
export function trainingPlan(rows: number, train: OrderSettings): { readonly stepsPerEpoch: number; readonly totalSteps: number } {
  const stepsPerEpoch = Math.ceil(rows / rowsPerStep(train));
  return { stepsPerEpoch, totalSteps: Math.min(stepsPerEpoch * train.epochs, train.maxSteps ?? Infinity) };
}

/** Rows of the training split in step `step` (0-based), as [microBatch][row index]; an epoch's last step may have fewer of both. */
export function rowsOfStep(rows: number, train: OrderSettings, step: number): number[][] {
  const { stepsPerEpoch } = trainingPlan(rows, train);
  const order = epochOrder(rows, train.seed, Math.floor(step / stepsPerEpoch));
  const first = (step % stepsPerEpoch) * rowsPerStep(train);
  const taken = order.subarray(first, first + rowsPerStep(train));
  const size = train.shards * train.microBatch;
  return Array.from({ length: Math.ceil(taken.length / size) }, (_, m) => [...taken.subarray(m * size, (m + 1) * size)]);
}
