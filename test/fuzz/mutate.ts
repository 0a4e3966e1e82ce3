/** Small deterministic changes of bytes, from a seed: the same seed always makes the same input. */

/** Numbers that parsers take for sizes, counts and offsets. */
const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

/** A generator of whole numbers below a limit (mulberry32). */
export function numbers(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** A changed copy: one to four changes, each of a bit, a byte, a number, a piece cut, doubled or moved, or a word put in. */
export function mutated(bytes: Uint8Array, seed: number, words: readonly string[]): Buffer {
  const below = numbers(seed);
  let out = Buffer.from(bytes);
  for (let left = 1 + below(4); left > 0; left--) {
    const at = below(out.length + 1);
    const end = Math.min(out.length, at + 1 + below(below(4) === 0 ? 256 : 8));
    const kind = below(8);
    if (kind === 0 && at < out.length) out[at]! ^= 1 << below(8);
    else if (kind === 1 && at < out.length) out[at] = below(256);
    else if (kind === 2 && at + 4 <= out.length) out.writeUInt32LE(EDGES[below(EDGES.length)]!, at);
    else if (kind === 3) out = Buffer.concat([out.subarray(0, at), out.subarray(end)]);
    else if (kind === 4) out = Buffer.concat([out.subarray(0, end), out.subarray(at)]);
    else if (kind === 5) out = Buffer.concat([out.subarray(0, at), out.subarray(below(out.length + 1)).subarray(0, 64), out.subarray(at)]);
    else if (kind === 6) out = out.subarray(0, at);
    else if (words.length > 0) out = Buffer.concat([out.subarray(0, at), Buffer.from(words[below(words.length)]!), out.subarray(at)]);
  }
  return out;
}
