import { elements } from "../../core/graph/tensor.js";
import { allParameters, countOf, isTrained, type Model, type WeightSpec } from "../../core/model/family.js";
import type { Capacity } from "../../core/training/step-plan.js";
import type { Needs, TrainSettings } from "../engine.js";

/** Weight and both of AdamW's moments, in fp32: a parameter in a checkpoint, and in the copy from which one is written. */
const CHECKPOINT_BYTES = 12;
/** A parameter's gradient, in fp32. */
const GRADIENT_BYTES = 4;
/** What a Python process takes before it has seen a model; with a GPU; and what it takes of that: CUDA's context and kernels. */
const PROCESS_BYTES = 1e9;
const GPU_PROCESS_BYTES = 2.5e9;
const DEVICE_BYTES = 1e9;
/** Elements of a rank that AdamW updates at once, and buffers of so many that a rank has for NVMe: see rank/settings.py. */
const SUB_GROUP = 2e7;
const OPTIMIZER_BUFFERS = 4;
const PARAMETER_BUFFERS = 40;

/** Where the bytes of all parameters are, over all ranks: where they are computed, in the host's memory, and on NVMe. */
interface StateBytes {
  readonly computed: number;
  readonly host: number;
  readonly nvme: number;
}

/** What the parameters take, by what is offloaded. */
export function stateBytes({ parameters }: Model, { precision, offload }: Pick<TrainSettings, "precision" | "offload">): StateBytes {
  const all = allParameters(parameters);
  const trained = countOf(all.filter(isTrained));
  const taken = { computed: 0, host: 0, nvme: 0 };
  const places = { none: "computed", cpu: "host", nvme: "nvme" } as const;
  taken[places[offload.optimizer]] += CHECKPOINT_BYTES * trained;
  // the gradients of a step are summed in memory; those that AdamW on the CPU takes are a copy, on NVMe a file
  taken[offload.optimizer === "none" ? "computed" : "host"] += GRADIENT_BYTES * trained;
  if (offload.optimizer !== "none") taken[places[offload.optimizer]] += GRADIENT_BYTES * trained;
  // in fp32, too, DeepSpeed has the weights that it computes with apart from those that AdamW updates; frozen ones are these alone
  taken[places[offload.parameters]] += weightBytes({ precision }) * countOf(all);
  return taken;
}

/** A weight that the model is computed with. */
function weightBytes({ precision }: Pick<TrainSettings, "precision">): number {
  return precision === "fp32" ? 4 : 2;
}

/** What training needs. `ranks`: how many processes there are, each with a part of the model. */
export function trainingNeeds(model: Model, train: TrainSettings, capacity: Capacity | null, ranks: number = train.shards): Needs {
  const all = allParameters(model.parameters);
  const trained = all.filter(isTrained);
  const states = countOf(trained);
  const { offload, keepCheckpoints } = train;
  const { layer, kept } = activationBytes(model, train, capacity?.shardTokens ?? 1);
  const { layers } = model.shape;
  const { computed, host, nvme } = stateBytes(model, train);
  // without room to keep more, a layer's inputs are kept and the rest is computed again; AdamW needs room for a sub-group
  const subGroup = 4 * Math.min(SUB_GROUP + largest(trained) / ranks, states);
  const pass = layer + kept / layers + largestLayer(model);
  const onDevice = pass + (offload.optimizer === "none" ? 2 * subGroup : 0);
  const onHost =
    (offload.optimizer === "none" ? 0 : subGroup) +
    (offload.optimizer === "nvme" ? OPTIMIZER_BUFFERS * subGroup : 0) +
    (offload.parameters === "nvme" ? (PARAMETER_BUFFERS * weightBytes(train) * largest(all)) / ranks : 0);
  // a checkpoint is written from a copy, beside training
  const inMemory = host + states * CHECKPOINT_BYTES + ranks * onHost;
  const swapped = offload.directory === null ? nvme : 0;
  return {
    parameters: countOf(all),
    trained: states,
    memoryBytes: inMemory + computed + ranks * (PROCESS_BYTES + onDevice),
    hostBytes: inMemory + ranks * GPU_PROCESS_BYTES,
    // a new checkpoint is written before the oldest goes; the trained model follows
    diskBytes: states * (CHECKPOINT_BYTES * (keepCheckpoints + 1) + 4) + swapped,
    deviceBytes: (count) => computed / count + DEVICE_BYTES + onDevice,
  };
}

/** Bytes of one pass in one rank: the inputs of all layers with the logits and their gradients, and what all layers keep where there is room. */
export function activationBytes(
  { shape }: Model,
  { microBatch, precision }: Pick<TrainSettings, "microBatch" | "precision">,
  tokens: number,
): { readonly layer: number; readonly kept: number } {
  const { width, layers, heads, vocabulary } = shape;
  const bytes = weightBytes({ precision });
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
  return (8 * countOf(parameters.blocks[0]!) * tokens) / SLOW_CPU;
}

/** Bytes of the largest thing that a rank gathers to compute with it: the embedding, or a block. */
function largestLayer({ parameters }: Model): number {
  const sizes = [[parameters.embedding], ...parameters.blocks.slice(0, 1), parameters.head].map((specs) => countOf(specs));
  // with its gradient, or with the next one
  return 2 * 4 * Math.max(...sizes);
}

/** Elements of the largest of some parameters. */
function largest(specs: readonly WeightSpec[]): number {
  return Math.max(...specs.map(({ shape }) => elements(shape)));
}
