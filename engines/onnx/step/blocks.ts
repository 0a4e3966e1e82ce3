import { floats, type Tensor } from "../../../core/graph/tensor.js";
import { isTrained, type ParameterSpec } from "../../../core/model/family.js";
import type { MicroBatchPlan } from "../../../core/training/step-plan.js";
import { runSegments, type BlockTensors } from "../run-segments.js";
import type { StepPart } from "./head.js";
import { drawDropout, type HostedRows } from "./hosted-rows.js";
import type { Workplace } from "./workplace.js";

/** The blocks; T tokens of a shard, D the model's width. A rank takes its shards through a layer together, so that a layer's weights are read while they are in the cache. */

/** Runs every block forward. Keeps each block's input and, where there is memory, the values that its backward pass needs. */
export async function blocksForward(place: Workplace, rows: readonly HostedRows[]): Promise<void> {
  for (let layer = 0; layer < place.model.shape.layers; layer++) {
    place.prefetch(layer + 1);
    for (const row of rows) {
      const { plan, packed, inputs, values } = row;
      place.control.at(plan.shard);
      drawDropout(place, row, layer);
      await runSegments(place.run, place.block.forward, packed, {
        parameters: place.blockParameters(layer),
        values: values[layer]!,
        ends: { x: inputs[layer]!, y: inputs[layer + 1]! },
      });
    }
  }
}

/**
 * Runs every block backward, down to the gradient at the embedding. A layer's gradients of all shards meet in one of three
 * shared buffers, in turn, and are added up by their owners when the next layer has been computed. So no rank waits for one
 * that is less than a layer behind; and a rank that has arrived with a layer has added up the one two above it, whose buffer
 * is next.
 */
export async function blocksBackward(place: Workplace, rows: readonly HostedRows[], batch: MicroBatchPlan, part: StepPart): Promise<void> {
  const { layers } = place.model.shape;
  let above: { readonly layer: number; readonly arrival: number } | null = null;
  for (let layer = layers - 1; layer >= 0; layer--) {
    place.prefetch(layer - 1);
    for (const row of rows) {
      place.control.at(row.plan.shard);
      await blockBackward(place, row, layer);
    }
    if (above !== null) reduceBlock(place, above.layer, above.arrival, batch, part);
    if (layer === 0) place.embedding.share(place.view(place.layout.embeddingGradients), rows);
    above = { layer, arrival: place.arrive() };
  }
  reduceBlock(place, above!.layer, above!.arrival, batch, part);
  const { embedding } = place.model.parameters;
  if (!isTrained(embedding)) return;
  const started = performance.now();
  place.embedding.add(place.view(place.layout.embeddingGradients), place.owned(embedding), batch);
  place.spend("reduction", started);
}

/** A shard's way back through a block. */
async function blockBackward(place: Workplace, row: HostedRows, layer: number): Promise<void> {
  const { plan, packed, inputs, values } = row;
  const { block, model } = place;
  const T = plan.tokens;
  const D = model.shape.width;
  const dx_TD: Tensor = floats(place.rows(`dx.${plan.shard}.${layer % 2}`, T, D), T, D);
  const tensors: BlockTensors = {
    parameters: place.blockParameters(layer),
    gradients: place.blockGradients(layer, plan.shard),
    values: values[layer]!,
    ends: { x: inputs[layer]!, y: inputs[layer + 1]!, dy: floats(row.gradient, T, D), dx: dx_TD },
  };
  drawDropout(place, row, layer);
  // the same graphs on the same numbers: values that are computed again have the same bits
  if (!place.keepActivations) await runSegments(place.run, block.again, packed, tensors);
  await runSegments(place.run, block.backward, packed, tensors);
  row.gradient = dx_TD.data as Float32Array;
}

/** Adds up the hosted owners' slices of a layer's gradients, when all ranks have arrived with theirs. */
function reduceBlock(place: Workplace, layer: number, arrival: number, batch: MicroBatchPlan, part: StepPart): void {
  const { layout, model } = place;
  place.wait(arrival);
  const started = performance.now();
  const slot = layout.blockGradients[layer % layout.blockGradients.length]!;
  const buffers = (regions: typeof slot): Float32Array[] => batch.shards.map(({ shard }) => place.view(regions[shard]!));
  reduce(place, model.parameters.blocks[layer]!, layout.blockOffsets, buffers(slot), part);
  // those of the norm before the head were written before the first layer's barrier
  if (layer === model.shape.layers - 1) reduce(place, model.parameters.norm, layout.normOffsets, buffers(layout.normGradients), part);
  place.spend("reduction", started);
}

/** Adds up the hosted owners' slices of parameters whose gradients lie at `offsets` in the buffer of each shard. */
function reduce(
  place: Workplace,
  parameters: readonly ParameterSpec[],
  offsets: readonly number[],
  buffers: readonly Float32Array[],
  part: StepPart,
): void {
  for (const owner of place.owners)
    parameters.filter(isTrained).forEach(({ name }, index) => {
      const slice = owner.slice(name);
      const first = offsets[index]! + slice.first;
      owner.accumulate(
        name,
        buffers.map((buffer) => buffer.subarray(first, first + slice.count)),
        part.index,
        part.count,
      );
    });
}
