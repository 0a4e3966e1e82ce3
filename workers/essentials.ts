import type { StageRequest } from "../activities/common/stage.js";
import { parseRunConfig } from "../core/config/schema.js";
import type { ListEnds } from "../core/stages/metrics.js";
import type { SentResult, StageName, StageResult } from "../core/stages/results.js";
import type { StageInput } from "../workflows/contract.js";

/** What passes between Temporal's history and the stages. */

/** Lists longer than this stay in the stage's directory. */
const SHORT = 12;
const TEXT = 2000;

/** What a stage is asked for. A run that was planned before an upgrade knows nothing of the fields that came with it: they have their defaults. */
export function requestOf(input: StageInput, root: string): StageRequest {
  return { ...input, config: parseRunConfig(input.config), root };
}

/** A stage's result without what would swell Temporal's history: of long lists of numbers their ends remain. */
export function essentials<Name extends StageName>(result: StageResult<Name>): SentResult<Name> {
  return { ...result, metrics: trimmed(result.metrics) } as SentResult<Name>;
}

function trimmed(value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (typeof value === "string") return value.length > TEXT ? `${value.slice(0, TEXT)}…` : value;
  if (Array.isArray(value)) {
    if (value.length <= SHORT) return value.map(trimmed);
    if (!value.every((entry) => typeof entry === "number")) return value.slice(0, SHORT).map(trimmed);
    const finite = value.filter(Number.isFinite);
    const ends: ListEnds = {
      count: value.length,
      first: value[0]!,
      last: value.at(-1)!,
      min: Math.min(...finite),
      max: Math.max(...finite),
    };
    return trimmed(ends);
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, trimmed(entry)]));
}
