import { packRows, type PackedRows } from "../../../core/model/common/pack.js";
import type { GptjConfig } from "../../../core/model/gptj/config.js";
import type { RunGraph } from "../../../core/model/gptj/forward.js";
import { modelGraphs, type ModelGraphs } from "../../../core/model/gptj/training.js";
import { blockWeights } from "../../../core/model/gptj/parameters.js";
import { floats, type Tensor } from "../../../core/graph/tensor.js";
import type { Capacity } from "../../../core/training/step-plan.js";
import type { Region, SharedLayout } from "../layout.js";
import type { ShardRows } from "../../../core/training/step-plan.js";
import { sizeOf, sliceOf } from "../../../core/training/slices.js";
import type { createSession, Session } from "../session/session.js";
import type { Directive, StepEnd } from "../../engine.js";
import type { Control } from "../control.js";
import type { TimeSpent } from "../times.js";
import { EmbeddingSums } from "./embedding.js";
import { Owner } from "./owner.js";

/** What the parts of a step work on: the shared memory, the sessions, and the shards that this worker hosts. */

/** D of a hosted shard's rows as they pass through the blocks; buffers are kept from step to step. */
export interface HostedRows {
  readonly plan: ShardRows;
  readonly packed: PackedRows;
  /** [layers + 1][T, D]: each block's input, and the last one's output */
  readonly inputs: readonly Float32Array[];
  /** [T, D] gradient on its way down */
  gradient: Float32Array;
}

/** A session for each of the model's graphs. */
export type Sessions = Readonly<Record<keyof ModelGraphs, Session>>;

/** One worker's view of an attempt: memory, sessions, owners, barriers. */
export class Engine {
  readonly config: GptjConfig;
  readonly layout: SharedLayout;
  readonly capacity: Capacity;
  readonly shards: number;
  readonly hosted: readonly number[];
  readonly owners: readonly Owner[];
  readonly embedding = new EmbeddingSums();
  /** shards that own a slice of the vocabulary: all, unless it has fewer words */
  readonly headShards: readonly number[];
  readonly sessions: Sessions;
  readonly control: Control;
  /** whether blocks keep what their backward pass needs, instead of computing it again */
  readonly keepActivations: boolean;
  private readonly segments: readonly ArrayBuffer[];
  private readonly tell: (arrival: number, end?: StepEnd) => void;
  private readonly buffers = new Map<string, Float32Array>();
  private readonly blockFeeds: readonly Record<string, Tensor>[];
  private arrivals = 0;
  private spent = { graphs: 0, waiting: 0, reduction: 0, optimizer: 0 };

  constructor(options: {
    readonly config: GptjConfig;
    readonly layout: SharedLayout;
    readonly capacity: Capacity;
    readonly shards: number;
    readonly hosted: readonly number[];
    readonly sessions: Sessions;
    readonly control: Control;
    readonly keepActivations: boolean;
    readonly segments: readonly ArrayBuffer[];
    readonly arrive: (index: number, end?: StepEnd) => void;
  }) {
    this.config = options.config;
    this.layout = options.layout;
    this.capacity = options.capacity;
    this.shards = options.shards;
    this.hosted = options.hosted;
    this.sessions = options.sessions;
    this.control = options.control;
    this.keepActivations = options.keepActivations;
    this.segments = options.segments;
    this.tell = options.arrive;
    this.owners = options.hosted.map((shard) => new Owner(options.config, options.shards, shard, (name) => this.weight(name)));
    const all = Array.from({ length: options.shards }, (_, shard) => shard);
    this.headShards = all.filter((shard) => sizeOf(sliceOf(options.config.vocabulary, options.shards, shard)) > 0);
    this.blockFeeds = Array.from({ length: options.config.layers }, (_, layer) => this.feedsOfBlock(layer));
  }

  /** fp32 view of a region of the shared memory. */
  view(region: Region): Float32Array {
    return new Float32Array(this.segments[region.segment]!, region.offset, region.elements);
  }

  doubles(region: Region): Float64Array {
    return new Float64Array(this.segments[region.segment]!, region.offset, region.elements);
  }

  weight(name: string): Float32Array {
    return this.view(this.layout.weights.get(name)!);
  }

  /** The block's weights as its graphs take them. */
  blockWeights(layer: number): Record<string, Tensor> {
    return this.blockFeeds[layer]!;
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
    await this.sessions[graph].run(inputs, outputs);
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

  /** Tells the coordinator that this rank has come here, with `end` at a step's end; returns what to wait for. One arrival is waited for before the next. */
  arrive(end?: StepEnd): number {
    const arrival = ++this.arrivals;
    this.control.at(null);
    this.tell(arrival, end);
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
  barrier(end?: StepEnd): Directive {
    return this.wait(this.arrive(end));
  }

  /** Lays a hosted shard's rows end to end and looks up their embeddings. */
  embed(plan: ShardRows): HostedRows {
    const { width: D, layers } = this.config;
    const packed = packRows(plan.rows, this.config);
    const inputs = Array.from({ length: layers + 1 }, (_, layer) => this.rows(`x.${plan.shard}.${layer}`, plan.tokens, D));
    const table = this.weight("transformer.wte.weight");
    const first = inputs[0]!;
    packed.ids.forEach((id, token) => first.set(table.subarray(id * D, (id + 1) * D), token * D));
    return { plan, packed, inputs, gradient: this.rows(`dx.${plan.shard}`, plan.tokens, D) };
  }

  private feedsOfBlock(layer: number): Record<string, Tensor> {
    const prefix = `transformer.h.${layer}.`;
    return Object.fromEntries(
      blockWeights(this.config, layer).map(({ name, shape }) => [name.slice(prefix.length), floats(this.weight(name), ...shape)]),
    );
  }
}

/** One session for each of the model's graphs. */
export async function openSessions(config: GptjConfig, create: typeof createSession): Promise<Sessions> {
  const graphs = Object.entries(modelGraphs(config));
  const sessions = await Promise.all(graphs.map(async ([name, graph]) => [name, await create(graph, { threads: 1 })] as const));
  return Object.fromEntries(sessions) as Record<keyof ModelGraphs, Session>;
}
