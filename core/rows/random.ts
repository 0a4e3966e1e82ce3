/** Counter-based randomness: a number is a function of (seed, counters) and of nothing drawn before. */

/** Murmur3's finalizer: every input bit reaches every output bit. */
function mix(word: number): number {
  let h = word | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** 32 random bits at a place; `seed` is a whole number below 2^53, counters are whole numbers below 2^32. */
export function bitsAt(seed: number, ...counters: readonly number[]): number {
  let h = mix((seed >>> 0) + 0x9e3779b9);
  h = mix(h ^ Math.floor(seed / 2 ** 32));
  for (const counter of counters) h = mix(Math.imul(h, 0x9e3779b1) + counter + 0x7f4a7c15);
  return h;
}

/** A number in [0, 1) with 53 bits, at place `index` of `stream`. */
export function uniformAt(seed: number, stream: number, index: number): number {
  return (bitsAt(seed, stream, index, 0) * 2 ** 21 + (bitsAt(seed, stream, index, 1) >>> 11)) * 2 ** -53;
}

/** The permutation of 0 … count - 1 that belongs to (seed, stream). */
export function permutation(count: number, seed: number, stream: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(uniformAt(seed, stream, last) * (last + 1));
    const kept = order[last]!;
    order[last] = order[other]!;
    order[other] = kept;
  }
  return order;
}
