import { uniformAt } from "../../rows/random.js";
import type { ParameterSpec } from "../family.js";

/**
 * How a fresh adapter begins, as PEFT's does: B is zero, so that the model is its base, and A is uniform between ±1/√in. A value is a
 * function of the seed, the tensor's name and its place.
 */

/** Elements [first, first + out.length) of an adapter's tensor. */
export function initialAdapter(
  spec: Pick<ParameterSpec, "name" | "shape" | "initial">,
  seed: number,
  first: number,
  out: Float32Array,
): void {
  if (spec.initial === "zero") {
    out.fill(0);
    return;
  }
  const bound = 1 / Math.sqrt(spec.shape[1]!);
  const stream = nameHash(spec.name);
  for (let index = 0; index < out.length; index++) out[index] = (2 * uniformAt(seed, stream, first + index) - 1) * bound;
}

/** FNV-1a of a name. */
function nameHash(name: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
