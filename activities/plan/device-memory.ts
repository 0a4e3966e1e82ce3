import { UserError } from "../../core/errors.js";
import { bytes as readable } from "../../core/units.js";
import type { Needs } from "../../engines/engine.js";

/** Ranks beyond which nobody is told that so many would do. */
const MOST_RANKS = 1024;

/**
 * Compares what each rank needs of its GPU with what that has. `memory`: bytes of each registered worker's GPU, none where
 * the workers compute on the CPU. Returns a note that is worth knowing, or null. Throws UserError, need against have.
 */
export function checkDevices(engine: string, { deviceBytes }: Needs, memory: readonly number[], shards: number): string | null {
  if (memory.length === 0) return null;
  if (deviceBytes === undefined) return `the engine ${engine} computes on the CPU: the GPUs of ${memory.length} workers are not used`;
  const ranks = Math.min(memory.length, shards);
  const have = Math.min(...memory);
  const need = deviceBytes(ranks);
  const fewest = Array.from({ length: MOST_RANKS }, (_, index) => index + 1).find((count) => deviceBytes(count) <= have);
  if (need > have)
    throw new UserError(
      "a rank needs more memory than its GPU has: start workers on more GPUs, set train.microBatch lower, or set train.offload",
      {
        ranks,
        need: readable(need),
        have: readable(have),
        "ranks that would do": fewest ?? "none",
      },
    );
  const fewer = fewest === ranks ? "with fewer GPUs it does not fit" : `${fewest} GPUs would do`;
  return `each of ${ranks} ranks needs at least ${readable(need)} of its GPU's ${readable(have)}; ${fewer}`;
}
