import { elements, floats, type FloatType, type Tensor } from "../../../core/graph/tensor.js";
import { packRows } from "../../../core/model/common/pack.js";
import type { Bytes } from "../../../core/graph/graph.js";
import {
  allParameters,
  parameterCount,
  type Model,
  type ParameterSpec,
  type TrainingProgram,
  type WeightSpec,
} from "../../../core/model/family.js";
import { withAdapter } from "../../../core/model/lora/adapter.js";
import { lossTokens } from "../../../core/rows/labels.js";
import type { TokenRow } from "../../../core/rows/token-rows.js";
import { availableMemory } from "../../../infra/process/machine.js";
import { AdapterFiles } from "../../../infra/weights/adapter-files.js";
import type { ModelFiles } from "../../../infra/weights/model-files.js";
import { readEosTokenIds } from "../../../infra/weights/read-model-config.js";
import { mappedWeights } from "../../../infra/weights/trained-model.js";
import type { GenerationOptions, Score } from "../../inference.js";
import { planBlock, type BlockPlan } from "../block-plan.js";
import { runSegments, type RunGraph } from "../run-segments.js";
import { lookUp } from "../look-up.js";
import { mapWeights, unmapShared } from "../shared-memory.js";
import { createSession } from "../session/session.js";
import { openPrograms, type Sessions } from "../sessions.js";
import { cacheBytes } from "./caches.js";
import { decode, type Decoder } from "./decode.js";

/** A model that scores rows and generates. T tokens of all rows, N of those that carry loss, D the model's width, V its words. */

/** A model in memory, ready to score and to generate; its calls block the thread while a graph runs. */
export interface LoadedModel {
  score(rows: readonly TokenRow[]): Promise<Score>;
  /** See `decode`. */
  generate(prompts: readonly (readonly number[])[], options?: GenerationOptions): ReturnType<typeof decode>;
  close(): Promise<void>;
}

/** A model whose weights would take more than this share of the free memory in fp32 is used where it lies in its files, in its own type. */
const KEEP_WITHIN = 0.5;

/** Generation keeps a second copy of the weights, in the order in which products read them, if both, and a sequence's caches, take no more than this share. */
const PACK_WITHIN = 0.8;

/** Whether there is memory for the second copy of weights that take `bytes`, beside the `caches` of a sequence at the model's last position. */
export function canPack(bytes: number, caches: number, memory: number): boolean {
  return 2 * bytes + caches <= PACK_WITHIN * memory;
}

/** Positions whose logits are in memory at once: 64 of 50,400 words are 13 MB. */
const HEAD_ROWS = 64;

/**
 * Reads a model into memory, or maps it where it is large, with an adapter if `adapter` names the directory of one, unless `stopped` says so in between, and
 * closes its files; `memory`: bytes that are free, and `freeMemory` those that are when prompts come. Throws UserError or CorruptError for what is wrong with them.
 */
export async function loadModel(
  files: ModelFiles,
  threads: number,
  stopped: () => boolean,
  adapter: string | null = null,
  memory: number = availableMemory(),
  freeMemory: () => number = availableMemory,
): Promise<LoadedModel> {
  try {
    return await load(files, threads, stopped, adapter, memory, freeMemory);
  } catch (error) {
    // the process lives on, and what is mapped keeps files that were removed
    unmapShared();
    throw error;
  }
}

async function load(
  files: ModelFiles,
  threads: number,
  stopped: () => boolean,
  adapter: string | null,
  memory: number,
  freeMemory: () => number,
): Promise<LoadedModel> {
  const weights = new Map<string, Tensor>();
  let model: Model = files.model;
  let ends: readonly number[];
  let adapterFiles: AdapterFiles | null = null;
  const directory = adapter ?? files.directory;
  const bytes = 4 * parameterCount(files.model);
  const isLarge = bytes > KEEP_WITHIN * memory;
  try {
    ends = readEosTokenIds(files.directory, model);
    if (adapter !== null) adapterFiles = new AdapterFiles(adapter, files.model);
    const typeOf = (name: string): FloatType | null => (isLarge ? (files.placeOf(name)?.type ?? null) : null);
    model = withAdapter(files.model, adapterFiles?.modules ?? [], { typeOf, dropout: false });
    const mapped = mapWeights(mappedWeights(files, model));
    for (const spec of allParameters(model.parameters)) {
      if (stopped()) throw new Error("reading a model was stopped");
      const there = mapped.get(spec.name);
      if (there !== undefined) {
        weights.set(spec.name, { type: spec.frozen, shape: spec.shape, data: there } as Tensor);
        continue;
      }
      const data = new Float32Array(elements(spec.shape));
      (spec.adapter === undefined ? files : adapterFiles!).readFloats(spec.name, 0, data);
      weights.set(spec.name, floats(data, ...spec.shape));
    }
  } finally {
    adapterFiles?.close();
    files.close();
  }
  const training = model.family.training(model.shape, model.parameters);
  const plan = planBlock(training, model.parameters.blocks[0]!);
  const { block, norm, head } = training;
  const programs = [...block.forward.map(({ program }) => program), norm.forward, head.forward];
  const sessions = await openPrograms(programs, threads, createSession);
  const loaded: Loaded = { model, training, plan, sessions, weights };
  const canKeepBoth = (caches: number): boolean => !isLarge && canPack(bytes, caches, memory);
  let decoder: Decoder | null = null;
  return {
    score: (rows) => score(loaded, rows),
    async *generate(prompts, options) {
      decoder ??= {
        ...(await openDecoder(loaded, canKeepBoth, threads)),
        directory,
        freeMemory,
        positions: model.shape.positions,
        ends,
        stopped,
      };
      yield* decode(decoder, prompts, options);
    },
    async close() {
      await Promise.all([...Object.values(sessions), ...(decoder === null ? [] : [decoder.session])].map((session) => session.close()));
      weights.clear();
      unmapShared();
    },
  };
}

/** The decoder's session, with the weights in it if there is memory for both and for caches of so many bytes, or beside it. */
async function openDecoder(
  { model, weights }: Loaded,
  canKeepBoth: (caches: number) => boolean,
  threads: number,
): Promise<Pick<Decoder, "session" | "weights" | "leastRows">> {
  const beside = ({ shape }: WeightSpec): Bytes => ({ location: "weights", offset: 0, length: 4 * elements(shape) });
  const plain = model.family.decoder(model.shape, model.parameters, () => null, "held");
  const packs = canKeepBoth(cacheBytes(plain.inputs, model.shape.positions));
  const graph = packs ? model.family.decoder(model.shape, model.parameters, beside, "held") : plain;
  const named = Object.fromEntries(weights);
  const session = await createSession(graph, packs ? { threads, initializers: named } : { threads });
  return packs ? { session, weights: {}, leastRows: 1 } : { session, weights: named, leastRows: 2 };
}

interface Loaded {
  readonly model: Model;
  readonly training: TrainingProgram;
  readonly plan: BlockPlan;
  /** of the graphs of the forward pass */
  readonly sessions: Sessions;
  /** by the parameters' names */
  readonly weights: ReadonlyMap<string, Tensor>;
}

/** Parameters as graphs take them. */
function inputsOf(specs: readonly ParameterSpec[], weights: Loaded["weights"]): Record<string, Tensor> {
  return Object.fromEntries(specs.map(({ name, input }) => [input, weights.get(name)!]));
}

async function score({ model, training, plan, sessions, weights }: Loaded, rows: readonly TokenRow[]): Promise<Score> {
  const { shape, parameters } = model;
  const { width: D, vocabulary: V } = shape;
  const packed = packRows(rows, shape, training.tables);
  const T = packed.tokens;
  const run: RunGraph = (graph, inputs, outputs) => sessions[graph]!.run(inputs, outputs);
  const zeros = (width: number): Tensor => floats(new Float32Array(T * width), T, width);
  const made = [...plan.kept, ...plan.forwardOnly].map(([name, width]) => [name, zeros(width)] as const);
  const values = { ...packed.tables, ...Object.fromEntries(made) };
  let x_TD = floats(rowsOf(weights.get(parameters.embedding.name)!, packed.ids), T, D);
  let y_TD = zeros(D);
  for (const specs of parameters.blocks) {
    await runSegments(run, plan.forward, packed, { parameters: inputsOf(specs, weights), values, ends: { x: x_TD, y: y_TD } });
    [x_TD, y_TD] = [y_TD, x_TD];
  }
  const [norm, head] = [inputsOf(parameters.norm, weights), inputsOf(parameters.head, weights)];
  let nll = 0;
  const rowLosses = rows.map(() => 0);
  // the row whose loss is looked at, and how many losses there are with it
  let [row, upTo] = [-1, 0];
  for (let first = 0; first < packed.lossAt.length; first += HEAD_ROWS) {
    const x_ND = rowsOf(x_TD, packed.lossAt.subarray(first, first + HEAD_ROWS));
    const N = x_ND.length / D;
    const { h } = await sessions[training.norm.forward.name]!.run({ x: floats(x_ND, N, D), ...norm }, { h: null });
    const { logits, max, sumexp } = await sessions[training.head.forward.name]!.run(
      { h: h!, ...head },
      { logits: null, max: null, sumexp: null },
    );
    for (let n = 0; n < N; n++) {
      const logZ = Math.log(sumexp!.data[n] as number) + (max!.data[n] as number);
      const loss = logZ - (logits!.data[n * V + packed.targets[first + n]!] as number);
      nll += loss;
      while (first + n >= upTo) upTo += lossTokens(rows[++row]!.labels);
      rowLosses[row]! += loss;
    }
  }
  return { nll, labels: packed.lossAt.length, rows: rowLosses };
}

/** Rows of a table [V,D], one after the other. */
function rowsOf(table: Tensor, at: Int32Array): Float32Array {
  const rows = new Float32Array(at.length * table.shape[1]!);
  lookUp(table, at, rows);
  return rows;
}
