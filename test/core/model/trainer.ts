import { packRows } from "../../../core/data/pack.js";
import type { TokenRow } from "../../../core/data/tokens.js";
import type { GptjConfig } from "../../../core/model/config.js";
import { modelGraphs, type ModelGraphs } from "../../../core/model/graphs.js";
import { blockWeights, elements, modelWeights } from "../../../core/model/names.js";
import { floats, int64s, type Tensor } from "../../../core/onnx/tensor.js";
import { createSession, type Session } from "../../../infra/onnx/session.js";

/** The graphs put together in one process, as plainly as possible: what the sharded training must agree with. */

export type Weights = Map<string, Float32Array>;
export type Sessions = { readonly [Name in keyof ModelGraphs]: Session };

export async function openSessions(config: GptjConfig): Promise<Sessions> {
  const opened = await Promise.all(
    Object.entries(modelGraphs(config)).map(async ([name, graph]) => [name, await createSession(graph, { threads: 1 })]),
  );
  return Object.fromEntries(opened) as Sessions;
}

export async function closeSessions(sessions: Sessions): Promise<void> {
  for (const session of Object.values(sessions)) await session.close();
}

export interface Step {
  readonly loss: number;
  readonly gradients: Weights;
  /** [N,vocabulary] at the positions that carry loss */
  readonly logits: Float32Array;
}

/** Mean loss of a batch's labels and its gradient for every weight; the head is computed in `slices` parts. */
export async function computeStep(
  sessions: Sessions,
  config: GptjConfig,
  weights: Weights,
  rows: readonly TokenRow[],
  slices = 1,
): Promise<Step> {
  const D = config.width;
  const packed = packRows(rows, config);
  const { tokens: T, geometry, lossAt, targets } = packed;
  const N = lossAt.length;
  const gradients: Weights = new Map(modelWeights(config).map(({ name, shape }) => [name, new Float32Array(elements(shape))]));
  const blockInputs = (layer: number): Record<string, Tensor> =>
    Object.fromEntries(
      blockWeights(config, layer).map(({ name, shape }) => [
        name.slice(`transformer.h.${layer}.`.length),
        floats(weights.get(name)!, ...shape),
      ]),
    );

  const wte = weights.get("transformer.wte.weight")!;
  const x: Tensor[] = [floats(gatherRows(wte, packed.ids, D), T, D)];
  for (let layer = 0; layer < config.layers; layer++)
    x.push((await sessions.blockForward.run({ x: x[layer]!, ...geometry, ...blockInputs(layer) }, { y: null }))["y"]!);
  const norm = { weight: floats(weights.get("transformer.ln_f.weight")!, D), bias: floats(weights.get("transformer.ln_f.bias")!, D) };
  const last = floats(gatherRows(x.at(-1)!.data as Float32Array, lossAt, D), N, D);
  const { h } = (await sessions.finalNormForward.run({ x: last, ...norm }, { h: null })) as { h: Tensor };

  const head = await runHead(sessions, config, weights, h, targets, slices);
  for (const [name, gradient] of head.gradients) gradients.set(name, gradient);
  const normBack = await sessions.finalNormBackward.run(
    { x: last, dh: floats(head.dh, N, D), ...norm },
    { dx: null, "d.weight": null, "d.bias": null },
  );
  gradients.set("transformer.ln_f.weight", normBack["d.weight"]!.data as Float32Array);
  gradients.set("transformer.ln_f.bias", normBack["d.bias"]!.data as Float32Array);

  let dy = floats(new Float32Array(T * D), T, D);
  lossAt.forEach((token, n) =>
    (dy.data as Float32Array).set((normBack["dx"]!.data as Float32Array).subarray(n * D, (n + 1) * D), token * D),
  );
  for (let layer = config.layers - 1; layer >= 0; layer--) {
    const wanted = Object.fromEntries(sessions.blockBackward.graph.outputs.map(({ name }) => [name, null]));
    const results = await sessions.blockBackward.run({ x: x[layer]!, dy, ...geometry, ...blockInputs(layer) }, wanted);
    for (const { name } of blockWeights(config, layer))
      gradients.set(name, results[`d.${name.slice(`transformer.h.${layer}.`.length)}`]!.data as Float32Array);
    dy = results["dx"]!;
  }
  const embedding = gradients.get("transformer.wte.weight")!;
  packed.ids.forEach((id, token) => {
    for (let d = 0; d < D; d++) embedding[id * D + d]! += (dy.data as Float32Array)[token * D + d]!;
  });
  return { loss: head.loss, logits: head.logits, gradients };
}

async function runHead(sessions: Sessions, config: GptjConfig, weights: Weights, h: Tensor, targets: Int32Array, slices: number) {
  const { width: D, vocabulary } = config;
  const N = targets.length;
  const bounds = Array.from({ length: slices + 1 }, (_, slice) => Math.round((slice * vocabulary) / slices));
  const parts = bounds.slice(1).map((end, slice) => {
    const first = bounds[slice]!;
    const weight = floats(weights.get("lm_head.weight")!.subarray(first * D, end * D), end - first, D);
    return { first, size: end - first, weight, bias: floats(weights.get("lm_head.bias")!.subarray(first, end), end - first) };
  });
  const forward: Record<string, Tensor>[] = [];
  for (const { weight, bias } of parts)
    forward.push(await sessions.headForward.run({ h, weight, bias }, { logits: null, max: null, sumexp: null }));
  const at = (tensor: Tensor | undefined, index: number): number => (tensor!.data as Float32Array)[index]!;
  const logits = new Float32Array(N * vocabulary);
  let loss = 0;
  const logZ = Float32Array.from({ length: N }, (_, n) => {
    const max = Math.max(...forward.map((part) => at(part["max"], n)));
    const z = max + Math.log(forward.reduce((sum, part) => sum + at(part["sumexp"], n) * Math.exp(at(part["max"], n) - max), 0));
    parts.forEach(({ first, size }, slice) =>
      logits.set((forward[slice]!["logits"]!.data as Float32Array).subarray(n * size, (n + 1) * size), n * vocabulary + first),
    );
    loss += (z - logits[n * vocabulary + targets[n]!]!) / N;
    return z;
  });
  const dWeight = new Float32Array(vocabulary * D);
  const dBias = new Float32Array(vocabulary);
  const dh = new Float32Array(N * D);
  for (const [slice, { first, size, weight }] of parts.entries()) {
    const inside = int64s(
      targets.map((target) => (target >= first && target < first + size ? target - first : -1)),
      N,
    );
    const inputs = {
      logits: forward[slice]!["logits"]!,
      logZ: floats(logZ, N),
      targets: inside,
      scale: floats(Float32Array.of(1 / N), 1),
      h,
      weight,
    };
    const back = await sessions.headBackward.run(inputs, { "d.weight": null, "d.bias": null, dh: null });
    dWeight.set(back["d.weight"]!.data as Float32Array, first * D);
    dBias.set(back["d.bias"]!.data as Float32Array, first);
    (back["dh"]!.data as Float32Array).forEach((value, index) => (dh[index]! += value));
  }
  const gradients: [string, Float32Array][] = [
    ["lm_head.weight", dWeight],
    ["lm_head.bias", dBias],
  ];
  return { loss, logits, dh, gradients };
}

function gatherRows(table: Float32Array, indices: Int32Array, D: number): Float32Array {
  const rows = new Float32Array(indices.length * D);
  indices.forEach((index, at) => rows.set(table.subarray(index * D, (index + 1) * D), at * D));
  return rows;
}
