import type { RunConfig } from "../core/config/schema.js";
import { UserError } from "../core/errors.js";
import { countOf, parameterCount, trainedParameters, type Model } from "../core/model/family.js";
import { IGNORED, type TokenRow, type TokenSplit } from "../core/rows/token-rows.js";
import { trainingPlan } from "../core/training/order.js";
import { hostedShards } from "../core/training/slices.js";
import { capacityOf, evaluatesAfter, planStep, type Capacity, type StepPlan } from "../core/training/step-plan.js";
import { bytes as readable, count, duration, rate } from "../core/units.js";
import { activationBytes, sharedBytes, trainingNeeds } from "../engines/onnx/needs.js";
import type { ProbeFigures } from "./probe.js";

/** What a run will take, before anything starts. */

/** The rows of a run, as far as they are known. */
export interface Workload {
  readonly train: TokenSplit;
  /** tokens of the held-out rows */
  readonly testTokens: number;
  /** what was assumed of them; null: they are the run's own */
  readonly assumed: string | null;
}

/** What a run will take. Bytes and seconds. */
export interface Estimate {
  readonly parameters: number;
  readonly trained: number;
  readonly workers: number;
  readonly rows: number;
  /** what was assumed of the rows; null: they are the run's own */
  readonly assumed: string | null;
  /** of all steps */
  readonly tokens: number;
  readonly steps: number;
  readonly memory: {
    /** a worker's own, the largest one's; all workers' together */
    readonly worker: number;
    readonly workers: number;
    /** what they share: trained weights and what they hand each other */
    readonly shared: number;
    /** frozen weights that they map from the base's files */
    readonly mapped: number;
    readonly all: number;
  };
  readonly disk: {
    /** bytes that are still to be downloaded */
    readonly download: number;
    readonly checkpoint: number;
    /** checkpoints and the trained model */
    readonly training: number;
    readonly published: number;
    readonly all: number;
  };
  /** null: the machine lacks the memory to measure its speed */
  readonly speed: { readonly secondsPerStep: number; readonly tokensPerSecond: number } | null;
  readonly seconds: { readonly train: number; readonly evaluate: number } | null;
}

/** What else is known of the place. */
export interface EstimatePlace {
  readonly workers: number;
  readonly download: number;
  readonly published: number;
  /** bytes that are free */
  readonly memory: number;
}

/** A parameter in a checkpoint: weight and both moments; and in memory, where the gradient takes the weight's place. */
const CHECKPOINT_BYTES = 12;
const STATE_BYTES = { one: 12, several: 20 };
/** What a rank's process has beside what a probe's has: the thread that talks to the others. */
const RANK_BYTES = 25e6;
/** As the engine's: activations are kept where training then leaves so much of the free memory. */
const KEEP_WITHIN = 0.6;

/** The part of a step that the forward pass takes; with a frozen base nothing is computed for its weights on the way back. */
const FORWARD = { full: 1 / 3, lora: 1 / 2 };

/** What a run's rows come to. */
export interface Steps {
  readonly capacity: Capacity;
  readonly tokens: number;
  readonly steps: number;
  /** the step whose tokens are closest to the mean */
  readonly typical: StepPlan;
  readonly keepActivations: boolean;
}

/** Plans the steps of a run. Throws UserError where there are no rows. */
export function stepsOf(model: Model, { train }: RunConfig, { train: split }: Workload, memory: number): Steps {
  if (split.count === 0) throw new UserError("no rows are left to train on: preprocess.testRows takes all of them");
  const { totalSteps, stepsPerEpoch } = trainingPlan(split.count, train);
  const plans = Array.from({ length: Math.min(totalSteps, stepsPerEpoch) }, (_, step) => {
    const plan = planStep(split, train, step);
    return { step, tokens: plan.tokens };
  });
  const mean = plans.reduce((sum, { tokens }) => sum + tokens, 0) / plans.length;
  const closest = plans.reduce((best, each) => (Math.abs(each.tokens - mean) < Math.abs(best.tokens - mean) ? each : best));
  const capacity = capacityOf(split, { ...train, epochs: 1 });
  const { kept, head } = activationBytes(model, capacity);
  const most = trainingNeeds(model, train, capacity).memoryBytes + head + kept;
  return {
    capacity,
    tokens: Math.round(mean * totalSteps),
    steps: totalSteps,
    typical: planStep(split, train, closest.step),
    keepActivations: most < KEEP_WITHIN * memory,
  };
}

/** Puts together what is known; `figures`: null where the speed was not measured. */
export function estimate(
  model: Model,
  config: RunConfig,
  workload: Workload,
  place: EstimatePlace,
  steps: Steps,
  figures: ProbeFigures | null,
): Estimate {
  const { train } = config;
  const { capacity } = steps;
  const workers = Math.min(place.workers, train.shards);
  const trained = countOf(trainedParameters(model.parameters));
  const needs = trainingNeeds(model, train, capacity);
  const shared = sharedBytes(model, train.shards, capacity);
  const stateBytes = trained * (train.accumulation > 1 ? STATE_BYTES.several : STATE_BYTES.one);
  const onDisk = (train.offload.optimizer === "nvme" ? stateBytes : 0) + (train.offload.parameters === "nvme" ? shared : 0);
  const mapped = needs.memoryBytes + onDisk - shared - stateBytes;
  const own = ownMemory(model, config, steps, workers, figures);
  const sharedInMemory = train.offload.parameters === "nvme" ? 0 : shared;
  const checkpoint = trained * CHECKPOINT_BYTES;
  const speed = figures === null ? null : speedOf(model, steps, workers, figures);
  const secondsOfTest = speed === null ? 0 : (workload.testTokens * FORWARD[train.method]) / speed.tokensPerSecond;
  const evaluations = Array.from({ length: steps.steps }, (_, step) => evaluatesAfter(train, step + 1, steps.steps)).filter(Boolean).length;
  const seconds =
    speed === null
      ? null
      : {
          train: speed.secondsPerStep * steps.steps + evaluations * secondsOfTest,
          // both models, the base and the tuned one
          evaluate: 2 * secondsOfTest,
        };
  return {
    parameters: parameterCount(model),
    trained,
    workers,
    rows: workload.train.count,
    assumed: workload.assumed,
    tokens: steps.tokens,
    steps: steps.steps,
    memory: { worker: own, workers: own * workers, shared: sharedInMemory, mapped, all: own * workers + sharedInMemory + mapped },
    disk: {
      download: place.download,
      checkpoint,
      training: needs.diskBytes,
      published: place.published,
      all: place.download + needs.diskBytes + place.published,
    },
    speed,
    seconds,
  };
}

/** The largest worker's own memory: what the probe's had with fewer layers, and what the others add. */
function ownMemory(model: Model, { train }: RunConfig, steps: Steps, workers: number, figures: ProbeFigures | null): number {
  const shards = hostedShards(train.shards, workers, workers - 1).length;
  const hosted = shards / train.shards;
  const perParameter = train.offload.optimizer === "nvme" ? 0 : train.accumulation > 1 ? STATE_BYTES.several : STATE_BYTES.one;
  const trained = countOf(trainedParameters(model.parameters));
  // each shard has buffers for the most tokens that any shard has
  const tokens = steps.capacity.shardTokens * train.shards;
  const { kept, head } = activationBytes(model, { ...steps.capacity, tokens });
  const inputs = 4 * tokens * model.shape.width * model.shape.layers;
  const layers = (steps.keepActivations ? kept : kept / model.shape.layers) + inputs;
  // a checkpoint is written from a copy, shard by shard
  const copy = (CHECKPOINT_BYTES * trained) / train.shards;
  const states = perParameter * trained * hosted;
  if (figures === null) return 125e6 + states + copy + (layers + head) * hosted;
  const share = figures.layers / model.shape.layers;
  const inBlocks = countOf(model.parameters.blocks.flat().filter(({ frozen }) => frozen === undefined));
  const more = (1 - share) * (perParameter * inBlocks + inputs + (steps.keepActivations ? kept : 0)) * hosted;
  return figures.own + RANK_BYTES + more + copy;
}

/** A step's seconds from those of its parts with fewer layers, with all workers on this machine's cores. */
function speedOf(model: Model, steps: Steps, workers: number, { times, layers, ranks }: ProbeFigures): NonNullable<Estimate["speed"]> {
  const deeper = model.shape.layers / layers;
  const graphs = times.blocks * deeper + times.head;
  const blocks = countOf(model.parameters.blocks.flat().filter(({ frozen }) => frozen === undefined));
  const trained = countOf(trainedParameters(model.parameters));
  const updates = times.updates * (trained / (trained - blocks + blocks / deeper));
  const rank = graphs + updates + times.rest * (graphs / (times.blocks + times.head));
  // ranks beyond the cores take turns
  const secondsOfTypical = rank * (workers / ranks);
  const tokensPerSecond = steps.typical.tokens / secondsOfTypical;
  return { secondsPerStep: steps.tokens / steps.steps / tokensPerSecond, tokensPerSecond };
}

/** Rows of one length, where a run's own are not known. */
export function assumedWorkload({ preprocess, train }: RunConfig): Workload {
  const tokens = Math.min(preprocess.maxLength, 128);
  const rows = 52_002 - preprocess.testRows;
  const inputIds = new Int32Array(tokens);
  const labels = Int32Array.from({ length: tokens }, (_, at) => (at < tokens / 2 ? IGNORED : 0));
  const row: TokenRow = { source: 0, inputIds, labels };
  return {
    train: { count: rows, row: () => row },
    testTokens: preprocess.testRows * tokens,
    assumed: `the rows are not on this machine: ${count(rows, "row")} of ${tokens} tokens are assumed, half of which carry loss${train.maxSteps === null ? "" : `; training ends after ${count(train.maxSteps, "step")}`}`,
  };
}

/** The estimate as lines. */
export function showEstimate({ memory, disk, speed, seconds, ...each }: Estimate): string {
  return [
    `model      ${count(each.parameters)} parameters, of which ${count(each.trained)} are trained`,
    `rows       ${count(each.rows)}${each.assumed === null ? "" : ` (${each.assumed})`}; ${count(each.tokens, "token")} in ${count(each.steps, "step")}`,
    `memory     ${readable(memory.all)}: ${count(each.workers, "worker")} of at most ${readable(memory.worker)}, ${readable(memory.shared)} that they share, ${readable(memory.mapped)} mapped from the base's files`,
    `disk       ${readable(disk.all)}: ${readable(disk.download)} to download, ${readable(disk.training)} for training, ${readable(disk.published)} to publish; a checkpoint is ${readable(disk.checkpoint)}`,
    speed === null
      ? "time       not known: this machine lacks the free memory to try two layers"
      : `time       ${duration(seconds!.train)} of training: ${duration(speed.secondsPerStep)} a step, ${rate(speed.tokensPerSecond, "tokens")} now; ${duration(seconds!.evaluate)} of evaluation, answers not counted`,
  ].join("\n");
}
