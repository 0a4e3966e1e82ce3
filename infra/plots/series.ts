/** Series of numbers before they are drawn. */

/** A point of a series; without a value it is a gap. */
export type Point = readonly [x: number, y: number | null];

/**
 * At most about `most` of a series' points, in their order: the least and the greatest of each of `most / 2` equal parts. So
 * no peak is lost. A part that has a gap keeps one.
 */
export function thinned(points: readonly Point[], most: number): readonly Point[] {
  if (points.length <= most) return points;
  const parts = Math.max(1, Math.floor(most / 2));
  return Array.from({ length: parts }, (_, part) => {
    const start = Math.floor((part * points.length) / parts);
    const end = Math.floor(((part + 1) * points.length) / parts);
    let [least, greatest, gap] = [-1, -1, -1];
    for (let at = start; at < end; at++) {
      const value = points[at]![1];
      if (value === null) gap = at;
      else {
        if (least < 0 || value < points[least]![1]!) least = at;
        if (greatest < 0 || value > points[greatest]![1]!) greatest = at;
      }
    }
    return [...new Set([least, greatest, gap])]
      .filter((at) => at >= 0)
      .sort((a, b) => a - b)
      .map((at) => points[at]!);
  }).flat();
}

/** The mean around each value, over about a fortieth of the list, at least five of them; null where the value is. */
export function runningMean(values: readonly (number | null)[]): (number | null)[] {
  const half = Math.max(2, Math.round(values.length / 80));
  // sums and counts up to each index, so that a long list takes no longer for each of its values
  const sums = new Float64Array(values.length + 1);
  const counts = new Uint32Array(values.length + 1);
  for (const [at, value] of values.entries()) {
    sums[at + 1] = sums[at]! + (value ?? 0);
    counts[at + 1] = counts[at]! + (value === null ? 0 : 1);
  }
  return values.map((value, at) => {
    const [from, to] = [Math.max(0, at - half), Math.min(values.length, at + half + 1)];
    return value === null ? null : (sums[to]! - sums[from]!) / (counts[to]! - counts[from]!);
  });
}

/** A list of values, one for each step, as points: the first step is 1. What is not finite is a gap. */
export function byStep(values: readonly (number | null)[]): Point[] {
  return values.map((value, index) => [index + 1, value !== null && Number.isFinite(value) ? value : null]);
}
