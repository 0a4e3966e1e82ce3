import { bitsAt } from "../../rows/random.js";
import type { TokenRow } from "../../rows/token-rows.js";
import type { Segment } from "../family.js";

/**
 * What an adapter does not see of its layer's inputs. An element's fate is a function of the seed, the step, the row, the layer,
 * the module and the place in the row: of nothing that depends on workers, micro-batches or kills.
 */

/** The inputs `drop.<module>` of a block's forward graphs, with their widths, in the order of the modules. */
export function dropInputs(forward: readonly Pick<Segment, "program">[]): Map<string, number> {
  const inputs = forward.flatMap(({ program }) => program.inputs);
  return new Map(inputs.flatMap(({ name, shape }) => (name!.startsWith("drop.") ? [[name!, shape[1] as number]] : [])));
}

/** What decides a layer's masks, besides rows and places. */
export interface DropoutPlace {
  readonly seed: number;
  /** index of the step */
  readonly step: number;
  readonly layer: number;
  /** index of the module in its block */
  readonly module: number;
}

/** Fills drop[T,width] of rows laid end to end: 0 where an element is dropped, 1 / (1 - share) elsewhere. */
export function fillDropout(drop: Float32Array, width: number, share: number, rows: readonly TokenRow[], place: DropoutPlace): void {
  const kept = Math.fround(1 / (1 - share));
  const limit = share * 2 ** 32;
  let at = 0;
  for (const { source, inputIds } of rows) {
    const key = bitsAt(place.seed, place.step, source, place.layer, place.module) | 0;
    const count = inputIds.length * width;
    for (let index = 0; index < count; index++) {
      // one round of Murmur3's finalizer on the place, because there are millions in a step
      let h = Math.imul(index, 0x9e3779b1) ^ key;
      h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
      h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
      drop[at++] = (h ^ (h >>> 16)) >>> 0 < limit ? 0 : kept;
    }
  }
}
