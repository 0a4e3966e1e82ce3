import { elements, floats, int64s, type FloatType, type Tensor } from "../../../core/graph/tensor.js";
import { packRows } from "../../../core/model/common/pack.js";
import { allParameters, parameterCount, type Model, type ParameterSpec, type TrainingProgram } from "../../../core/model/family.js";
import { withAdapter } from "../../../core/model/lora/adapter.js";
import type { TokenRow } from "../../../core/rows/token-rows.js";
import { availableMemory } from "../../../infra/process/machine.js";
import { AdapterFiles } from "../../../infra/weights/adapter-files.js";
import type { ModelFiles } from "../../../infra/weights/model-files.js";
import { readEosTokenIds } from "../../../infra/weights/read-model-config.js";
import { mappedWeights } from "../../../infra/weights/trained-model.js";
import type { Score } from "../../inference.js";
import { planBlock, type BlockPlan } from "../block-plan.js";
import { runSegments, type RunGraph } from "../run-segments.js";
import { lookUp } from "../look-up.js";
import { mapWeights, unmapShared } from "../shared-memory.js";
import { createSession, type Session } from "../session/session.js";
import { openPrograms, type Sessions } from "../sessions.js";

/** A model that scores rows and generates. T tokens of all rows, N of those that carry loss, D the model's width, V its words. */

/** A model in memory, ready to score and to generate; its calls block the thread while a graph runs. */
export interface LoadedModel {
  score(rows: readonly TokenRow[]): Promise<Score>;
  /** The likeliest next token, again and again, until a token that ends an answer or the last position. The prompt has one token or more. */
  generate(prompt: readonly number[]): AsyncGenerator<number>;
  close(): Promise<void>;
}

/** A model whose weights would take more than this share of the free memory in fp32 is used where it lies in its files, in its own type. */
const KEEP_WITHIN = 0.5;

/** Positions whose logits are in memory at once: 64 of 50,400 words are 13 MB. */
const HEAD_ROWS = 64;

/**
 * Reads a model into memory, or maps it where it is large, with an adapter if `adapter` names the directory of one, unless `stopped` says so in between, and
 * closes its files; `memory`: bytes that are free. Throws UserError or CorruptError for what is wrong with them.
 */
export async function loadModel(
  files: ModelFiles,
  threads: number,
  stopped: () => boolean,
  adapter: string | null = null,
  memory: number = availableMemory(),
): Promise<LoadedModel> {
  try {
    return await load(files, threads, stopped, adapter, memory);
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
): Promise<LoadedModel> {
  const weights = new Map<string, Tensor>();
  let model: Model = files.model;
  let ends: readonly number[];
  let adapterFiles: AdapterFiles | null = null;
  try {
    ends = readEosTokenIds(files.directory, model);
    if (adapter !== null) adapterFiles = new AdapterFiles(adapter, files.model);
    const isLarge = 4 * parameterCount(files.model) > KEEP_WITHIN * memory;
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
  const decoder = await createSession(
    model.family.decoder(model.shape, model.parameters, () => null),
    { threads },
  );
  const loaded: Loaded = { model, training, plan, sessions, decoder, weights, ends };
  return {
    score: (rows) => score(loaded, rows),
    generate: (prompt) => generate(loaded, prompt),
    async close() {
      weights.clear();
      await Promise.all([...Object.values(sessions), decoder].map((session) => session.close()));
      unmapShared();
    },
  };
}

interface Loaded {
  readonly model: Model;
  readonly training: TrainingProgram;
  readonly plan: BlockPlan;
  /** of the graphs of the forward pass */
  readonly sessions: Sessions;
  readonly decoder: Session;
  /** by the parameters' names */
  readonly weights: ReadonlyMap<string, Tensor>;
  /** tokens that end an answer */
  readonly ends: readonly number[];
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
  // of the position that is looked at; both only grow
  let row = 0;
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
      while (packed.lossAt[first + n]! >= packed.rows[row]!.first + packed.rows[row]!.length) row++;
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

/** What the names of a decoder's caches begin with, as it takes and as it gives them. */
const [PAST, PRESENT] = ["past_key_values.", "present."] as const;

async function* generate({ model, decoder, weights, ends }: Loaded, prompt: readonly number[]): AsyncGenerator<number> {
  const { positions: most } = model.shape;
  const caches = decoder.graph.inputs.filter(({ name }) => name.startsWith(PAST));
  const presentOf = (past: string): string => PRESENT + past.slice(PAST.length);
  const wanted = Object.fromEntries(["logits", ...caches.map(({ name }) => presentOf(name))].map((name) => [name, null]));
  const parameters = Object.fromEntries(weights);
  // one sequence, and of it no token yet: of a cache's open sizes the first is the number of sequences
  const empty = caches.map(({ name, shape: sizes }) => {
    const known = sizes.map((size, axis) => (typeof size === "number" ? size : axis === 0 ? 1 : 0));
    return [name, floats(new Float32Array(0), ...known)] as const;
  });
  let past: Record<string, Tensor> = Object.fromEntries(empty);
  let next = prompt;
  let length = 0;
  while (length + next.length <= most) {
    const positions = next.map((_, index) => length + index);
    length += next.length;
    const inputs = {
      input_ids: int64s(next, 1, next.length),
      attention_mask: int64s(new Uint8Array(length).fill(1), 1, length),
      position_ids: int64s(positions, 1, next.length),
      num_logits_to_keep: int64s([1]),
    };
    const outputs = await decoder.run({ ...parameters, ...past, ...inputs }, wanted);
    const token = largest(outputs["logits"]!.data as Float32Array);
    if (ends.includes(token)) return;
    yield token;
    next = [token];
    past = Object.fromEntries(caches.map(({ name }) => [name, outputs[presentOf(name)]!]));
  }
}

/** Index of the largest value; the first of equal ones. */
function largest(values: Float32Array): number {
  let best = 0;
  for (let at = 1; at < values.length; at++) if (values[at]! > values[best]!) best = at;
  return best;
}
