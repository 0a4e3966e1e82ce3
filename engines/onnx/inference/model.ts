import { packRows } from "../../../core/model/common/pack.js";
import type { TokenRow } from "../../../core/rows/token-rows.js";
import type { GptjConfig } from "../../../core/model/gptj/config.js";
import { decoderGraph } from "../../../core/model/gptj/decoder.js";
import { activations, blockForward, type RunGraph } from "../../../core/model/gptj/forward.js";
import { modelGraphs } from "../../../core/model/gptj/training.js";
import {
  blockWeights,
  elements,
  embeddingWeight,
  finalNormWeights,
  headWeights,
  modelWeights,
} from "../../../core/model/gptj/parameters.js";
import { floats, int64s, type Graph, type Tensor } from "../../../core/graph/tensor.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { createSession, type Session } from "../session/session.js";

/** How well a model predicts rows: the sum of -log p over their labels, in nats, and how many labels there are. */
export interface Score {
  readonly nll: number;
  readonly labels: number;
}

/** A model in memory, in fp32, ready to score and to generate; its calls block the thread while a graph runs. */
export interface Model {
  readonly config: GptjConfig;
  score(rows: readonly TokenRow[]): Promise<Score>;
  /** The likeliest next token, again and again, until the end-of-text token or the last position. The prompt has one token or more. */
  generate(prompt: readonly number[]): AsyncGenerator<number>;
  close(): Promise<void>;
}

/** Positions whose logits are in memory at once: 64 of 50,400 words are 13 MB. */
const HEAD_ROWS = 64;

/** Reads a model directory into memory, unless `stopped` says so in between. Throws UserError or CorruptError for what is wrong with it. */
export async function openModel(directory: string, threads: number, stopped: () => boolean): Promise<Model> {
  const files = new ModelFiles(directory);
  const { config } = files;
  const weights = new Map<string, Tensor>();
  try {
    for (const { name, shape } of modelWeights(config)) {
      if (stopped()) throw new Error("reading a model was stopped");
      const data = new Float32Array(elements(shape));
      files.readFloats(name, 0, data);
      weights.set(name, floats(data, ...shape));
    }
  } finally {
    files.close();
  }
  const graphs = modelGraphs(config);
  const open = async (graph: Graph): Promise<Session> => createSession(graph, { threads });
  const sessions: Sessions = {
    projectForward: await open(graphs.projectForward),
    attendForward: await open(graphs.attendForward),
    joinForward: await open(graphs.joinForward),
    finalNormForward: await open(graphs.finalNormForward),
    headForward: await open(graphs.headForward),
    decoder: await open(decoderGraph(config, () => null)),
  };
  return {
    config,
    score: (rows) => score(sessions, config, weights, rows),
    generate: (prompt) => generate(sessions.decoder, config, weights, prompt),
    async close() {
      weights.clear();
      await Promise.all(Object.values(sessions).map((session) => session.close()));
    },
  };
}

type Weights = ReadonlyMap<string, Tensor>;
type Sessions = Readonly<
  Record<"projectForward" | "attendForward" | "joinForward" | "finalNormForward" | "headForward" | "decoder", Session>
>;

async function score(sessions: Sessions, config: GptjConfig, weights: Weights, rows: readonly TokenRow[]): Promise<Score> {
  const { width: D } = config;
  const packed = packRows(rows, config);
  const T = packed.tokens;
  let x_TD = floats(rowsOf(weights.get(embeddingWeight(config).name)!, packed.ids), T, D);
  let y_TD = floats(new Float32Array(T * D), T, D);
  const kept = activations(config, T, (_, width) => new Float32Array(T * width));
  const run: RunGraph = (graph, inputs, outputs) => sessions[graph as keyof Sessions].run(inputs, outputs);
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `transformer.h.${layer}.`;
    const own = Object.fromEntries(blockWeights(config, layer).map(({ name }) => [name.slice(prefix.length), weights.get(name)!]));
    await blockForward(run, packed, x_TD, own, kept, y_TD);
    [x_TD, y_TD] = [y_TD, x_TD];
  }
  const named = ([weight, bias]: readonly { readonly name: string }[]) => ({
    weight: weights.get(weight!.name)!,
    bias: weights.get(bias!.name)!,
  });
  let nll = 0;
  for (let first = 0; first < packed.lossAt.length; first += HEAD_ROWS) {
    const x_ND = rowsOf(x_TD, packed.lossAt.subarray(first, first + HEAD_ROWS));
    const N = x_ND.length / D;
    const { h } = await sessions.finalNormForward.run({ x: floats(x_ND, N, D), ...named(finalNormWeights(config)) }, { h: null });
    const { logits, max, sumexp } = await sessions.headForward.run(
      { h: h!, ...named(headWeights(config)) },
      { logits: null, max: null, sumexp: null },
    );
    for (let n = 0; n < N; n++) {
      const logZ = Math.log(sumexp!.data[n] as number) + (max!.data[n] as number);
      nll += logZ - (logits!.data[n * config.vocabulary + packed.targets[first + n]!] as number);
    }
  }
  return { nll, labels: packed.lossAt.length };
}

/** Rows of a table [V,D], one after the other. */
function rowsOf({ data, shape }: Tensor, at: Int32Array): Float32Array {
  const width = shape[1]!;
  const rows = new Float32Array(at.length * width);
  at.forEach((row, index) => rows.set((data as Float32Array).subarray(row * width, (row + 1) * width), index * width));
  return rows;
}

async function* generate(decoder: Session, config: GptjConfig, weights: Weights, prompt: readonly number[]): AsyncGenerator<number> {
  const caches = Array.from({ length: config.layers }, (_, layer) => [`${layer}.key`, `${layer}.value`]).flat();
  const wanted = Object.fromEntries(["logits", ...caches.map((name) => `present.${name}`)].map((name) => [name, null]));
  const own = Object.fromEntries(weights);
  let past = Object.fromEntries(
    caches.map((name) => [`past_key_values.${name}`, floats(new Float32Array(0), 1, config.heads, 0, config.headWidth)]),
  );
  let next = prompt;
  let length = 0;
  while (length + next.length <= config.positions) {
    const positions = next.map((_, index) => length + index);
    length += next.length;
    const inputs = {
      input_ids: int64s(next, 1, next.length),
      attention_mask: int64s(new Uint8Array(length).fill(1), 1, length),
      position_ids: int64s(positions, 1, next.length),
      num_logits_to_keep: int64s([1]),
    };
    const outputs = await decoder.run({ ...own, ...past, ...inputs }, wanted);
    const token = largest(outputs["logits"]!.data as Float32Array);
    if (token === config.eosTokenId) return;
    yield token;
    next = [token];
    past = Object.fromEntries(caches.map((name) => [`past_key_values.${name}`, outputs[`present.${name}`]!]));
  }
}

/** Index of the largest value; the first of equal ones. */
function largest(values: Float32Array): number {
  let best = 0;
  for (let at = 1; at < values.length; at++) if (values[at]! > values[best]!) best = at;
  return best;
}
