import { elements, floats, type Tensor } from "../../../core/graph/tensor.js";
import { isTrained, trainedParameters, type Model, type ParameterSpec, type TrainingProgram } from "../../../core/model/family.js";
import { sizeOf, sliceOf } from "../../../core/training/slices.js";
import type { Capacity } from "../../../core/training/step-plan.js";
import type { Directive, StepEnd } from "../../engine.js";
import { checkGradients, planBlock, type BlockPlan } from "../block-plan.js";
import type { Control } from "../control.js";
import type { Region, SharedLayout } from "../layout.js";
import type { RunGraph } from "../run-segments.js";
import type { createSession } from "../session/session.js";
import { openPrograms, type Sessions } from "../sessions.js";
import { willNeed } from "../shared-memory.js";
import type { TimeSpent } from "../times.js";
import { EmbeddingSums } from "./embedding.js";
import { Owner, type OwnedSlice } from "./owner.js";

/** What the parts of a step work on: the shared memory, the sessions, and the shards that this rank hosts. */

/** One rank's view of an attempt: memory, sessions, owners, barriers. */
export class Workplace {
  readonly model: Model;
  readonly training: TrainingProgram;
  readonly block: BlockPlan;
  readonly layout: SharedLayout;
  readonly capacity: Capacity;
  readonly shards: number;
  readonly hosted: readonly number[];
  readonly owners: readonly Owner[];
  readonly embedding: EmbeddingSums;
  /** shards that own a slice of the vocabulary: all, unless it has fewer words */
  readonly headShards: readonly number[];
  readonly control: Control;
  /** the share of their inputs that adapters do not see, and the seed that draws it */
  readonly dropout: { readonly share: number; readonly seed: number };
  /** index of the step that is under way */
  stepIndex = 0;
  /** whether blocks keep the values that their backward pass needs, instead of computing them again */
  readonly keepActivations: boolean;
  /** those of the norm before the head, as its graphs take them */
  readonly normParameters: Readonly<Record<string, Tensor>>;
  private readonly sessions: Sessions;
  private readonly segments: readonly ArrayBuffer[];
  private readonly mapped: ReadonlyMap<string, Tensor["data"]>;
  private readonly tell: (arrival: number, end?: StepEnd, evaluates?: true) => void;
  private readonly buffers = new Map<string, Float32Array>();
  private readonly parametersOfBlocks: readonly Readonly<Record<string, Tensor>>[];
  private readonly gradientsOfBlocks: readonly (readonly Readonly<Record<string, Tensor>>[])[];
  private arrivals = 0;
  private spent = { graphs: 0, waiting: 0, reduction: 0, optimizer: 0 };

  /** `sessions` are those that `openSessions` gives for `training`. */
  constructor(options: {
    readonly model: Model;
    readonly training: TrainingProgram;
    readonly layout: SharedLayout;
    readonly capacity: Capacity;
    readonly shards: number;
    readonly hosted: readonly number[];
    readonly sessions: Sessions;
    readonly control: Control;
    readonly keepActivations: boolean;
    readonly dropout: Workplace["dropout"];
    readonly segments: readonly ArrayBuffer[];
    /** the weights that are used where they lie in their files, by name */
    readonly mapped: ReadonlyMap<string, Tensor["data"]>;
    /** zeroed memory for moments and gradients, asked for as `ownedLengths` says */
    readonly fresh: (count: number) => Float32Array;
    readonly arrive: (index: number, end?: StepEnd, evaluates?: true) => void;
  }) {
    const { model, layout, shards } = options;
    const { shape, parameters } = model;
    this.model = model;
    this.training = options.training;
    this.block = planBlock(this.training, parameters.blocks[0]!);
    checkGradients([this.training.norm.backward], parameters.norm);
    checkGradients(this.training.head.weightBackward === null ? [] : [this.training.head.weightBackward], parameters.head);
    this.layout = layout;
    this.capacity = options.capacity;
    this.shards = shards;
    this.hosted = options.hosted;
    this.sessions = options.sessions;
    this.control = options.control;
    this.keepActivations = options.keepActivations;
    this.dropout = options.dropout;
    this.segments = options.segments;
    this.mapped = options.mapped;
    this.tell = options.arrive;
    this.embedding = new EmbeddingSums(shape.width);
    const trained = trainedParameters(parameters);
    this.owners = options.hosted.map(
      (shard) => new Owner(trained, shards, shard, (name) => this.view(layout.weights.get(name)!), options.fresh),
    );
    this.headShards = Array.from({ length: shards }, (_, shard) => shard).filter(
      (shard) => sizeOf(sliceOf(shape.vocabulary, shards, shard)) > 0,
    );
    // what is bound again and again is made once
    this.parametersOfBlocks = parameters.blocks.map((specs) => this.bind(specs));
    this.gradientsOfBlocks = layout.blockGradients.map((slot) =>
      slot.map((region) => gradientsIn(this.view(region), parameters.blocks[0]!.filter(isTrained), layout.blockOffsets)),
    );
    this.normParameters = this.bind(parameters.norm);
  }

  /** fp32 view of a region of the shared memory. */
  view(region: Region): Float32Array {
    return new Float32Array(this.segments[region.segment]!, region.offset, region.elements);
  }

  doubles(region: Region): Float64Array {
    return new Float64Array(this.segments[region.segment]!, region.offset, region.elements);
  }

  /** A parameter's values: fp32, or a frozen one's as they lie in its file. */
  weight({ name, shape, frozen = "float32" }: ParameterSpec): Tensor {
    const region = this.layout.weights.get(name);
    return { type: frozen, shape, data: region === undefined ? this.mapped.get(name)! : this.view(region) } as Tensor;
  }

  /** Has the system read a layer's frozen weights from the disk while another one is computed. */
  prefetch(layer: number): void {
    for (const { name } of this.model.parameters.blocks[layer] ?? []) {
      const data = this.mapped.get(name);
      if (data !== undefined) willNeed(data);
    }
  }

  /** The hosted owners' slices of a parameter that is trained. */
  owned({ name }: ParameterSpec): OwnedSlice[] {
    return this.owners.map((owner) => owner.slice(name));
  }

  /** A layer's parameters as its graphs take them. */
  blockParameters(layer: number): Readonly<Record<string, Tensor>> {
    return this.parametersOfBlocks[layer]!;
  }

  /** Where a shard's gradients of a layer's parameters go, by `d.<input>`. */
  blockGradients(layer: number, shard: number): Readonly<Record<string, Tensor>> {
    return this.gradientsOfBlocks[layer % this.gradientsOfBlocks.length]![shard]!;
  }

  /** Where a shard's gradients of the norm before the head go, by `d.<input>`. */
  normGradients(shard: number): Readonly<Record<string, Tensor>> {
    return gradientsIn(this.view(this.layout.normGradients[shard]!), this.model.parameters.norm.filter(isTrained), this.layout.normOffsets);
  }

  /** A private buffer that is kept under a name, made once for the `most` elements that the run needs. */
  buffer(name: string, count: number, most: number): Float32Array {
    let buffer = this.buffers.get(name);
    if (buffer === undefined) this.buffers.set(name, (buffer = new Float32Array(most)));
    return buffer.subarray(0, count);
  }

  /** A private buffer [rows, width] for tokens of one shard. */
  rows(name: string, rows: number, width: number): Float32Array {
    return this.buffer(name, rows * width, this.capacity.shardTokens * width);
  }

  /** Runs a graph, and looks whether the attempt is still wanted. */
  readonly run: RunGraph = async (graph, inputs, outputs) => {
    const started = performance.now();
    await this.sessions[graph]!.run(inputs, outputs);
    this.spend("graphs", started);
    this.control.step();
  };

  /** Counts the time since `started`, of performance.now(), as spent on something. */
  spend(on: keyof TimeSpent, started: number): void {
    this.spent[on] += (performance.now() - started) / 1000;
  }

  /** Seconds spent since the last call. */
  takeTimes(): TimeSpent {
    const times = this.spent;
    this.spent = { graphs: 0, waiting: 0, reduction: 0, optimizer: 0 };
    return times;
  }

  /** Tells the coordinator that this rank has come here, with `end` at a step's end, `evaluates` before test rows; returns what to wait for, before the next arrival. */
  arrive(end?: StepEnd, evaluates?: true): number {
    const arrival = ++this.arrivals;
    this.control.at(null);
    this.tell(arrival, end, evaluates);
    return arrival;
  }

  /** Waits until all ranks have come to `arrival`; what the coordinator answers at a step's end is what it wants done. */
  wait(arrival: number): Directive {
    this.control.at(null);
    const started = performance.now();
    const directive = this.control.wait(arrival);
    this.spend("waiting", started);
    return directive;
  }

  /** Arrives, and waits for all. */
  barrier(end?: StepEnd, evaluates?: true): Directive {
    return this.wait(this.arrive(end, evaluates));
  }

  /** Parameters as graphs take them. */
  private bind(specs: readonly ParameterSpec[]): Record<string, Tensor> {
    return Object.fromEntries(specs.map((spec) => [spec.input, this.weight(spec)]));
  }
}

/** Where the gradients of parameters lie in a buffer, by `d.<input>`. */
function gradientsIn(buffer: Float32Array, specs: readonly ParameterSpec[], offsets: readonly number[]): Record<string, Tensor> {
  return Object.fromEntries(
    specs.map(({ input, shape }, index) => {
      const first = offsets[index]!;
      return [`d.${input}`, floats(buffer.subarray(first, first + elements(shape)), ...shape)];
    }),
  );
}

/** One session for each of the graphs that train a model. */
export async function openSessions({ block, norm, head }: TrainingProgram, create: typeof createSession): Promise<Sessions> {
  const ofBlock = [...block.forward, ...block.backward].map(({ program }) => program);
  const ofHead = [head.forward, head.backward, ...(head.weightBackward === null ? [] : [head.weightBackward])];
  return openPrograms([...ofBlock, norm.forward, norm.backward, ...ofHead], 1, create);
}
