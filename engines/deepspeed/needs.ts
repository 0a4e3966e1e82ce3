import { parameterCount, type Model } from "../../core/model/family.js";
import type { Capacity } from "../../core/training/step-plan.js";
import type { Needs, TrainSettings } from "../engine.js";

/** Weight and both of AdamW's moments, in fp32: a parameter in a checkpoint. */
const CHECKPOINT_BYTES = 12;
/** A parameter in training, over all ranks: weight, gradient and both moments in fp32; in bf16 its rounded weight as well. */
const STATE_BYTES = { fp32: 16, bf16: 18, fp16: 18 };
/** What a Python process takes before it has seen a model, and what it takes of its GPU: CUDA's context and kernels. */
const PROCESS_BYTES = 1e9;
const DEVICE_BYTES = 1e9;

/** What training needs. `ranks`: how many processes there are, each with a part of the model. */
export function trainingNeeds(model: Model, train: TrainSettings, capacity: Capacity | null, ranks: number = train.shards): Needs {
  const parameters = parameterCount(model);
  const { layer, kept } = activationBytes(model, train, capacity?.shardTokens ?? 1);
  const { layers } = model.shape;
  // without room to keep more, a layer's inputs are kept and the rest is computed again
  const least = layer + kept / layers + largestLayer(model);
  return {
    parameters,
    memoryBytes: parameters * STATE_BYTES[train.precision] + ranks * (PROCESS_BYTES + least),
    // a new checkpoint is written before the oldest goes; the trained model follows
    diskBytes: parameters * (CHECKPOINT_BYTES * (train.keepCheckpoints + 1) + 4),
    deviceBytes: (count) => (parameters * STATE_BYTES[train.precision]) / count + DEVICE_BYTES + least,
  };
}

/** Bytes of one pass in one rank: the inputs of all layers with the logits and their gradients, and what all layers keep where there is room. */
export function activationBytes(
  { shape }: Model,
  { microBatch, precision }: Pick<TrainSettings, "microBatch" | "precision">,
  tokens: number,
): { readonly layer: number; readonly kept: number } {
  const { width, layers, heads, vocabulary } = shape;
  const bytes = precision === "fp32" ? 4 : 2;
  // rows of equal length; scores and their softmax are fp32
  const attention = (3 * 4 * heads * tokens * tokens) / microBatch;
  // about 10 values of the model's width and 6 of the inner one, four times as wide
  const kept = layers * (34 * width * tokens * bytes + attention);
  return { layer: layers * width * tokens * bytes + 3 * 4 * tokens * vocabulary, kept };
}

/** Operations a second of a slow CPU that many processes share. */
const SLOW_CPU = 5e9;

/** How long a rank may take for one layer of a pass, while ranks without rows in it wait: seconds, forward, again and backward. */
export function layerSeconds({ parameters }: Model, tokens: number): number {
  const block = parameters.blocks[0]!.reduce((sum, { shape }) => sum + shape.reduce((count, size) => count * size, 1), 0);
  return (8 * block * tokens) / SLOW_CPU;
}

/** Bytes of the largest thing that a rank gathers to compute with it: the embedding, or a block. */
function largestLayer({ parameters }: Model): number {
  const sizes = [[parameters.embedding], ...parameters.blocks.slice(0, 1), parameters.head].map((specs) =>
    specs.reduce((sum, { shape }) => sum + shape.reduce((count, size) => count * size, 1), 0),
  );
  // with its gradient
  return 2 * 4 * Math.max(...sizes);
}
