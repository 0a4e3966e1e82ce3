import { allParameters, countOf, isMapped, parameterCount, trainedParameters, type Model } from "../../core/model/family.js";
import type { Capacity } from "../../core/training/step-plan.js";
import type { Needs, TrainSettings } from "../engine.js";
import { planBlock } from "./block-plan.js";
import { sharedLayout } from "./layout.js";

/** Weight and both of AdamW's moments, in fp32: a parameter in a checkpoint. */
const CHECKPOINT_BYTES = 12;
/** Both moments and the gradient; with several micro-batches a step their float64 sum as well. */
const STATE_BYTES = { one: 12, several: 20 };
/** What a training process takes before it has seen a model. */
const PROCESS_BYTES = 150e6;

/** Bytes of the memory that the ranks share. */
export function sharedBytes(model: Model, shards: number, capacity: Pick<Capacity, "tokens" | "positions">): number {
  return sharedLayout(model, shards, capacity).segments.reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * What training needs; what a graph takes while it runs comes on top. `capacity` null: the least for the shortest rows, with
 * a process for every shard.
 */
export function trainingNeeds(model: Model, train: TrainSettings, capacity: Capacity | null): Needs {
  const trained = countOf(trainedParameters(model.parameters));
  const shared = sharedBytes(model, train.shards, capacity ?? { tokens: 1, positions: 1 });
  const states = trained * (train.accumulation > 1 ? STATE_BYTES.several : STATE_BYTES.one);
  const processes = capacity === null ? train.shards * PROCESS_BYTES : 0;
  // a new checkpoint is written before the oldest goes; the trained model follows
  const diskBytes = trained * (CHECKPOINT_BYTES * (train.keepCheckpoints + 1) + 4);
  const { offload } = train;
  const onDisk = (offload.optimizer === "nvme" ? states : 0) + (offload.parameters === "nvme" ? shared : 0);
  return {
    parameters: parameterCount(model),
    trained,
    memoryBytes: shared + states + processes - onDisk + mappedBytes(model),
    diskBytes: diskBytes + (offload.directory === null ? onDisk : 0),
  };
}

/** Bytes of the frozen weights that are used where they lie in their files: once in the machine's memory, whatever the number of ranks. */
function mappedBytes({ parameters }: Model): number {
  const mapped = allParameters(parameters).filter(isMapped);
  return mapped.reduce((sum, spec) => sum + countOf([spec]) * (spec.frozen === "float32" ? 4 : 2), 0);
}

/** What the shards' blocks keep for their backward pass where there is memory, and the head's shares in any case. */
export function activationBytes(
  { family, shape, parameters }: Model,
  { tokens, positions }: Capacity,
): { readonly kept: number; readonly head: number } {
  const { kept } = planBlock(family.training(shape, parameters), parameters.blocks[0]!);
  const width = [...kept.values()].reduce((sum, each) => sum + each, 0);
  return { kept: 4 * tokens * shape.layers * width, head: 4 * positions * shape.vocabulary };
}
