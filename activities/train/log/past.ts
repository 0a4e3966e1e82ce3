import { isDeepStrictEqual } from "node:util";
import type { ComputedSteps, Computing } from "../../../core/stages/metrics.js";
import type { CheckpointEntry, Past } from "./entries.js";

/** What of a line of checkpoints was trained in another directory, before it was taken over. */

/** What lies before the first checkpoint of a line, in another directory; null: the base model. A line is newest first. */
export function pastOf(line: readonly CheckpointEntry[]): Past | null {
  return line.at(-1)?.past ?? null;
}

/** Which steps of a line were computed how, first to last; `own`: how this directory's attempts compute. */
export function computedSteps(line: readonly CheckpointEntry[], own: Computing): ComputedSteps[] {
  const before = pastOf(line)?.computed ?? [];
  const taken = before.reduce((sum, { steps }) => sum + steps, 0);
  const parts: ComputedSteps[] = [];
  for (const part of [...before, { steps: (line[0]?.step ?? 0) - taken, by: own }]) {
    const last = parts.at(-1);
    if (part.steps === 0) continue;
    if (last !== undefined && isDeepStrictEqual(last.by, part.by)) parts[parts.length - 1] = { ...last, steps: last.steps + part.steps };
    else parts.push(part);
  }
  return parts;
}
