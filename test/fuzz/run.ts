import { CorruptError, UserError } from "../../core/errors.js";
import { mutated } from "./mutate.js";
import type { Target } from "./readers.js";

/** Milliseconds after which an input counts as one that hangs its reader. */
const SLOW_MS = 5000;

/** The input that a seed makes of a target's inputs. */
export function inputOf(target: Target, seed: number): Buffer {
  return mutated(target.seeds[seed % target.seeds.length]!, seed, target.words);
}

/** Reads what a seed makes; null: it was read, or refused by an error of ours in time. Else what was wrong. */
export async function tried(target: Target, seed: number): Promise<string | null> {
  const began = performance.now();
  try {
    await target.read(inputOf(target, seed));
  } catch (error) {
    if (!(error instanceof UserError) && !(error instanceof CorruptError))
      return error instanceof Error ? (error.stack ?? String(error)) : String(error);
  }
  const took = performance.now() - began;
  return took < SLOW_MS ? null : `took ${Math.round(took)} ms`;
}
