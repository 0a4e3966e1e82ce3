import type { RunConfig } from "./config/schema.js";
import type { GptjConfig } from "./model/config.js";
import { elements, modelWeights } from "./model/names.js";

/** What a run needs of its machine, in bytes; rough, and rather too much than too little. */
export interface Needs {
  readonly parameters: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

/** Weight, gradient and both of AdamW's moments, in fp32. */
const TRAINING_BYTES = 16;
/** Weight and moments of a parameter in a checkpoint. */
const CHECKPOINT_BYTES = 12;
/** What a training process takes before it has seen a model. */
const PROCESS_BYTES = 150e6;

/** Needs of a run on a model: training's memory, and the files that training and publishing leave. The download is not in it. */
export function runNeeds(model: GptjConfig, train: RunConfig["train"], workers: number): Needs {
  const parameters = modelWeights(model).reduce((sum, { shape }) => sum + elements(shape), 0);
  // a new checkpoint is written before the oldest goes; tuned model, its published copy and the ONNX export follow
  const diskBytes = parameters * (CHECKPOINT_BYTES * (train.keepCheckpoints + 1) + 3 * 4);
  return { parameters, memoryBytes: parameters * TRAINING_BYTES + workers * PROCESS_BYTES, diskBytes };
}

/** Bytes for people: "96.8 GB". */
export function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(bytes < 1e9 ? 3 : 1)} GB`;
}
