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

/** The ends of a long list; a run of many steps has too many for a call with each as an argument. */
function endsOf(values: readonly (number | null)[]): ListEnds {
  const numbers = values.filter((value) => value !== null);
  const finite = numbers.filter(Number.isFinite);
  const least = (a: number, b: number): number => Math.min(a, b);
  const most = (a: number, b: number): number => Math.max(a, b);
  return {
    count: values.length,
    first: numbers[0] ?? null,
    last: numbers.at(-1) ?? null,
    min: finite.length === 0 ? null : finite.reduce(least),
    max: finite.length === 0 ? null : finite.reduce(most),
  };
}

function trimmed(value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (typeof value === "string") return value.length > TEXT ? `${value.slice(0, TEXT)}…` : value;
  if (Array.isArray(value)) {
    if (value.length <= SHORT) return value.map(trimmed);
    if (!value.every((entry) => typeof entry === "number" || entry === null))
      return [...value.slice(0, SHORT - 1), value.at(-1)].map(trimmed);
    return trimmed(endsOf(value));
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, trimmed(entry)]));
}
