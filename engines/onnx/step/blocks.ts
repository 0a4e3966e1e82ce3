import { activations, blockForward, ofRow, projectAndAttend, type Activations } from "../../../core/model/gptj/forward.js";
import { blockWeights, elements, finalNormWeights } from "../../../core/model/gptj/parameters.js";
import { floats, type Tensor } from "../../../core/graph/tensor.js";
import type { MicroBatchPlan } from "../../../core/training/step-plan.js";
import type { Engine, HostedRows } from "./workplace.js";
import type { MicroBatchOf } from "./head.js";

/** The blocks: a worker takes its shards through a layer together, so a layer's weights are read while they are warm. */

/** Runs every block forward, keeping each block's input, and with it what else its backward pass needs, where there is memory. */
export async function blocksForward(engine: Engine, rows: readonly HostedRows[]): Promise<void> {
  const D = engine.config.width;
  for (let layer = 0; layer < engine.config.layers; layer++)
    for (const row of rows) {
      const { plan, packed, inputs } = row;
      engine.control.at(plan.shard);
      const [x, y] = [inputs[layer]!, inputs[layer + 1]!].map((values) => floats(values, plan.tokens, D)) as [Tensor, Tensor];
      await blockForward(engine.run, packed, x, engine.blockWeights(layer), activationsOf(engine, row, layer), y);
    }
}

/** Where a block's activations lie; without the memory to keep them, all blocks use one place. */
function activationsOf(engine: Engine, { plan }: HostedRows, layer: number): Activations {
  const place = engine.keepActivations ? `.${plan.shard}.${layer}` : "";
  return activations(engine.config, plan.tokens, (name, width) => engine.rows(name + place, plan.tokens, width));
}

/**
 * Runs every block backward, down to the gradient at the embedding. A layer's gradients of all shards meet in one of three
 * shared buffers, in turn, and are added up by their owners when the next layer has been computed. So nobody waits for who
 * is less than a layer behind; and who has arrived with a layer has added up the one two above it, whose buffer is next.
 */
export async function blocksBackward(engine: Engine, rows: readonly HostedRows[], batch: MicroBatchPlan, of: MicroBatchOf): Promise<void> {
  const { config, embedding } = engine;
  let above: { readonly layer: number; readonly arrival: number } | null = null;
  for (let layer = config.layers - 1; layer >= 0; layer--) {
    for (const row of rows) {
      engine.control.at(row.plan.shard);
      await blockBackward(engine, row, layer, slopesOf(engine, layer, row.plan.shard));
    }
    if (above !== null) reduceBlock(engine, above.layer, above.arrival, batch, of);
    if (layer === 0) embedding.share(engine, rows);
    above = { layer, arrival: engine.arrive() };
  }
  reduceBlock(engine, above!.layer, above!.arrival, batch, of);
  embedding.add(engine, batch);
}

/** The shared buffer for a shard's gradients of a layer. */
function gradientsOf(engine: Engine, layer: number, shard: number): Float32Array {
  const { blockGradients } = engine.layout;
  return engine.view(blockGradients[layer % blockGradients.length]![shard]!);
}

/** Where a shard's gradients of a layer's weights go, by `d.<name>`. */
function slopesOf(engine: Engine, layer: number, shard: number): Record<string, Tensor> {
  const { config, layout } = engine;
  const prefix = `transformer.h.${layer}.`;
  const slot = gradientsOf(engine, layer, shard);
  return Object.fromEntries(
    blockWeights(config, layer).map(({ name, shape }, index) => {
      const offset = layout.blockOffsets[index]!;
      return [`d.${name.slice(prefix.length)}`, floats(slot.subarray(offset, offset + elements(shape)), ...shape)];
    }),
  );
}

/** Adds up the hosted owners' slices of a layer's gradients, when all have arrived with theirs. */
function reduceBlock(engine: Engine, layer: number, arrival: number, batch: MicroBatchPlan, of: MicroBatchOf): void {
  const { config, layout } = engine;
  engine.wait(arrival);
  const started = performance.now();
  const sources = batch.shards.map(({ shard }) => gradientsOf(engine, layer, shard));
  for (const owner of engine.owners)
    blockWeights(config, layer).forEach(({ name }, index) => {
      const slice = owner.slice(name);
      const first = layout.blockOffsets[index]! + slice.first;
      owner.accumulate(
        name,
        sources.map((source) => source.subarray(first, first + slice.count)),
        of.index,
        of.count,
      );
    });
  if (layer === config.layers - 1) reduceFinalNorm(engine, batch, of);
  engine.spend("reduction", started);
}

/** Tokens whose activation goes back at a time. */
const ACTIVATED = 32;

/** A shard's way back through a block; `slopes` are where the gradients of its weights go, by `d.<name>`. */
async function blockBackward(engine: Engine, row: HostedRows, layer: number, slopes: Readonly<Record<string, Tensor>>): Promise<void> {
  const { plan, packed, inputs } = row;
  const T = plan.tokens;
  const { width: D, innerWidth: F } = engine.config;
  const weights = engine.blockWeights(layer);
  const x = floats(inputs[layer]!, T, D);
  const dy = floats(row.gradient, T, D);
  const kept = activationsOf(engine, row, layer);
  // the same graphs on the same numbers: computed again, they have the same bits
  if (!engine.keepActivations) await projectAndAttend(engine.run, packed, x, weights, kept);
  const d = activations(engine.config, T, (name, width) => engine.rows(`d.${name}`, T, width));
  const [slope, activated] = ["d.activated", "activated"].map((name) => floats(engine.rows(name, T, F), T, F)) as [Tensor, Tensor];
  const only = (names: RegExp): Record<string, Tensor> => Object.fromEntries(Object.entries(slopes).filter(([name]) => names.test(name)));
  await engine.run(
    "joinBackward",
    { dy, gathered: kept.gathered, ...weights },
    { "d.gathered": d.gathered, "d.activated": slope, ...only(/out_proj|fc_out.bias/) },
  );
  // a dozen passes, element by element: over so many tokens at a time that they stay in the cache
  for (let first = 0; first < T; first += ACTIVATED) {
    const part = (of: Tensor): Tensor => ofRow(of, { first, length: Math.min(ACTIVATED, T - first) });
    await engine.run(
      "activateBackward",
      { inner: part(kept.inner), "d.activated": part(slope) },
      { activated: part(activated), "d.inner": part(d.inner) },
    );
  }
  for (const span of packed.rows) {
    const part = (of: Activations, name: "q" | "k" | "v" | "gathered"): Tensor => ofRow(of[name], span);
    await engine.run(
      "attendBackward",
      {
        q: part(kept, "q"),
        k: part(kept, "k"),
        v: part(kept, "v"),
        "d.gathered": part(d, "gathered"),
        causal: span.causal,
      },
      { "d.q": part(d, "q"), "d.k": part(d, "k"), "d.v": part(d, "v") },
    );
  }
  const dx = floats(engine.rows(`dx.${plan.shard}.${layer % 2}`, T, D), T, D);
  await engine.run(
    "projectBackward",
    { x, dy, ...packed.rotation, "d.q": d.q, "d.k": d.k, "d.v": d.v, "d.inner": d.inner, activated, ...weights },
    { dx, ...only(/ln_1|[qkv]_proj|fc_in|fc_out.weight/) },
  );
  row.gradient = dx.data as Float32Array;
}

/** Its gradients were written before the first layer's barrier. */
function reduceFinalNorm(engine: Engine, batch: MicroBatchPlan, of: MicroBatchOf): void {
  const D = engine.config.width;
  const sources = batch.shards.map(({ shard }) => engine.view(engine.layout.normGradients[shard]!));
  for (const owner of engine.owners)
    finalNormWeights(engine.config).forEach(({ name }, index) => {
      const slice = owner.slice(name);
      const first = index * D + slice.first;
      owner.accumulate(
        name,
        sources.map((source) => source.subarray(first, first + slice.count)),
        of.index,
        of.count,
      );
    });
}
