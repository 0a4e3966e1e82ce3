import type { RunConfig } from "../../core/config/schema.js";
import { parameterCount, type Model } from "../../core/model/family.js";
import type { Capacity } from "../../core/training/step-plan.js";
import { planBlock } from "./block-plan.js";
import { sharedLayout, type SharedLayout } from "./layout.js";

/** What a run needs of its machine, in bytes. */
export interface Needs {
  readonly parameters: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

/** Weight and both of AdamW's moments, in fp32: a parameter in a checkpoint. */
const CHECKPOINT_BYTES = 12;
/** Both moments and the gradient; with several micro-batches a step their float64 sum as well. */
const STATE_BYTES = { one: 12, several: 20 };
/** What a training process takes before it has seen a model. */
const PROCESS_BYTES = 150e6;

/** Training's needs on shared memory of a layout; what a graph takes while it runs comes on top. */
export function trainingNeeds(model: Model, train: RunConfig["train"], { segments }: SharedLayout): Needs {
  const parameters = parameterCount(model);
  const shared = segments.reduce((sum, bytes) => sum + bytes, 0);
  const states = parameters * (train.accumulation > 1 ? STATE_BYTES.several : STATE_BYTES.one);
  // a new checkpoint is written before the oldest goes; the trained model follows
  const diskBytes = parameters * (CHECKPOINT_BYTES * (train.keepCheckpoints + 1) + 4);
  return { parameters, memoryBytes: shared + states, diskBytes };
}

/** What the shards' blocks keep for their backward pass where there is memory, and the head's shares in any case. */
export function activationBytes(
  { family, shape, parameters }: Model,
  { tokens, positions }: Capacity,
): { readonly kept: number; readonly head: number } {
  const { kept } = planBlock(family.training(shape), parameters.blocks[0]!);
  const width = [...kept.values()].reduce((sum, each) => sum + each, 0);
  return { kept: 4 * tokens * shape.layers * width, head: 4 * positions * shape.vocabulary };
}

/** The least that a whole run needs, known before its rows are: training on the shortest ones, and publishing. The download is not in it. */
export function runNeeds(model: Model, train: RunConfig["train"]): Needs {
  const least = trainingNeeds(model, train, sharedLayout(model, train.shards, { tokens: 1, positions: 1 }));
  return {
    ...least,
    memoryBytes: least.memoryBytes + train.shards * PROCESS_BYTES,
    // the ONNX export and what is published, in fp32
    diskBytes: least.diskBytes + least.parameters * 2 * 4,
  };
}
