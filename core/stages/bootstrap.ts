import { bitsAt } from "../rows/random.js";

/** How sure a comparison of models on the same items is: the paired bootstrap. */

/** One item: how much it weighs, and what each of several models has on it, as a sum over its weight (nats over labels, 0 or 1 over one item). */
export interface Paired {
  readonly weight: number;
  readonly sums: readonly number[];
}

/** What a figure is of its items: the weighted mean, or its exponential. */
export type Kind = "mean" | "exp";

/** The lower and the upper end of an interval. */
export type Ends = readonly [low: number, high: number];

/** Where the figures of models would lie if other items of the same kind had been taken: percentiles over resamples of the items. */
export interface Intervals {
  readonly models: readonly Ends[];
  /** of the first model's figure divided by each other's on the same items: they differ beyond chance if both ends are on one side of 1 */
  readonly ratios: readonly Ends[];
}

/** Share of the resamples that lies between an interval's ends. */
export const LEVEL = 0.95;
/** How many resamples are drawn. */
export const RESAMPLES = 10_000;
/** The seed that draws them. */
export const SEED = 42;
/** More items than this are resampled as so many groups of neighbours, which takes a second at most. */
const MOST_UNITS = 1000;

/** A figure of items whose sums over so much weight come to this. */
export function figureOf(kind: Kind, sum: number, weight: number): number {
  return kind === "exp" ? Math.exp(sum / weight) : sum / weight;
}

/** One figure divided by another's on the same items; of two that are 0 it is 1. */
export function ratioOf(kind: Kind, sum: number, other: number, weight: number): number {
  if (kind === "exp") return Math.exp((sum - other) / weight);
  return sum === other ? 1 : sum / other;
}

/**
 * The intervals of the models' figures and of their ratios; null with fewer than two items that weigh something. Each resample
 * draws as many items as there are, with replacement, and takes all models' sums on them: what makes an item hard for all falls out.
 */
export function pairedBootstrap(items: readonly Paired[], kind: Kind): Intervals | null {
  const units = grouped(items.filter(({ weight }) => weight > 0));
  if (units.length < 2) return null;
  const count = units[0]!.sums.length;
  const weights = Float64Array.from(units, ({ weight }) => weight);
  const sums = Array.from({ length: count }, (_, model) => Float64Array.from(units, (unit) => unit.sums[model]!));
  const figures = sums.map(() => new Float64Array(RESAMPLES));
  const ratios = sums.slice(1).map(() => new Float64Array(RESAMPLES));
  const drawn = new Uint32Array(units.length);
  for (let resample = 0; resample < RESAMPLES; resample++) {
    for (let draw = 0; draw < units.length; draw++) drawn[draw] = Math.floor((bitsAt(SEED, resample, draw) * units.length) / 2 ** 32);
    const total = (of: Float64Array): number => drawn.reduce((sum, unit) => sum + of[unit]!, 0);
    const weight = total(weights);
    const totals = sums.map(total);
    for (const [model, sum] of totals.entries()) {
      figures[model]![resample] = figureOf(kind, sum, weight);
      if (model > 0) ratios[model - 1]![resample] = ratioOf(kind, totals[0]!, sum, weight);
    }
  }
  return { models: figures.map(endsOf), ratios: ratios.map(endsOf) };
}

function grouped(items: readonly Paired[]): readonly Paired[] {
  const size = Math.max(1, Math.ceil(items.length / MOST_UNITS));
  return Array.from({ length: Math.ceil(items.length / size) }, (_, unit) => together(items.slice(unit * size, (unit + 1) * size)));
}

/** Several items as one. */
export function together(items: readonly Paired[]): Paired {
  const sums = items[0]?.sums.map((_, model) => items.reduce((sum, item) => sum + item.sums[model]!, 0)) ?? [];
  return { weight: items.reduce((sum, { weight }) => sum + weight, 0), sums };
}

function endsOf(values: Float64Array): Ends {
  const sorted = values.toSorted();
  const outside = Math.round((RESAMPLES * (1 - LEVEL)) / 2);
  return [sorted[outside]!, sorted[RESAMPLES - 1 - outside]!];
}
