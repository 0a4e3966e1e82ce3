/** Rows by their length in tokens: powers of two. */

const SHORTEST = 16;

/** The bin of a row, by the longest that is in it. */
export function binOf(length: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(SHORTEST, length)));
}

/** The bins of rows of up to `longest` tokens, ascending; none if that is 0. */
export function binsUpTo(longest: number): number[] {
  if (longest === 0) return [];
  const count = Math.log2(binOf(longest) / SHORTEST) + 1;
  return Array.from({ length: count }, (_, index) => SHORTEST * 2 ** index);
}
