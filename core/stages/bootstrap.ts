import { bitsAt } from "../rows/random.js";

/** How sure a comparison of two models on the same rows is: the paired bootstrap. */

/** What each of two models loses on a row: sums of -log p over its labels, in nats, and how many labels there are. */
export interface PairedLoss {
  readonly labels: number;
  readonly base: number;
  readonly tuned: number;
}

/** The lower and the upper end of an interval. */
export type Ends = readonly [low: number, high: number];

/** Where the perplexities would lie if other rows of the same kind had been held out: percentiles over resamples of the rows. */
export interface PerplexityInterval {
  /** share of the resamples that lies between the ends */
  readonly level: number;
  readonly resamples: number;
  readonly seed: number;
  readonly base: Ends;
  readonly tuned: Ends;
  /** of tuned divided by base, on the same rows: the models differ beyond chance if both ends are on one side of 1 */
  readonly ratio: Ends;
}

/** Share of the resamples that lies between an interval's ends. */
export const LEVEL = 0.95;
const RESAMPLES = 10_000;
const SEED = 42;
/** More rows than this are resampled as so many groups of neighbours, which takes a second at most. */
const MOST_UNITS = 1000;

/**
 * The intervals of both perplexities and of their ratio; null with fewer than two rows that have labels. Each resample draws
 * as many rows as there are, with replacement, and takes both models' losses on them: what makes a row hard for both falls out.
 */
export function pairedBootstrap(rows: readonly PairedLoss[]): PerplexityInterval | null {
  const units = grouped(rows.filter(({ labels }) => labels > 0));
  if (units.length < 2) return null;
  const found = { base: new Float64Array(RESAMPLES), tuned: new Float64Array(RESAMPLES), ratio: new Float64Array(RESAMPLES) };
  for (let resample = 0; resample < RESAMPLES; resample++) {
    const sum = { labels: 0, base: 0, tuned: 0 };
    for (let draw = 0; draw < units.length; draw++) add(sum, units[Math.floor((bitsAt(SEED, resample, draw) * units.length) / 2 ** 32)]!);
    found.base[resample] = Math.exp(sum.base / sum.labels);
    found.tuned[resample] = Math.exp(sum.tuned / sum.labels);
    found.ratio[resample] = Math.exp((sum.tuned - sum.base) / sum.labels);
  }
  const [base, tuned, ratio] = [found.base, found.tuned, found.ratio].map(endsOf) as [Ends, Ends, Ends];
  return { level: LEVEL, resamples: RESAMPLES, seed: SEED, base, tuned, ratio };
}

function grouped(rows: readonly PairedLoss[]): readonly PairedLoss[] {
  const size = Math.ceil(rows.length / MOST_UNITS);
  return Array.from({ length: Math.ceil(rows.length / Math.max(1, size)) }, (_, unit) => {
    const sum = { labels: 0, base: 0, tuned: 0 };
    for (const row of rows.slice(unit * size, (unit + 1) * size)) add(sum, row);
    return sum;
  });
}

function add(sum: { labels: number; base: number; tuned: number }, { labels, base, tuned }: PairedLoss): void {
  sum.labels += labels;
  sum.base += base;
  sum.tuned += tuned;
}

function endsOf(values: Float64Array): Ends {
  const sorted = values.toSorted();
  const outside = Math.round((RESAMPLES * (1 - LEVEL)) / 2);
  return [sorted[outside]!, sorted[RESAMPLES - 1 - outside]!];
}
