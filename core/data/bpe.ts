/** Byte-pair merges of one word: always the merge of lowest rank next, the leftmost first. */

/** Merges by the pair of ids that they join: an open-addressing table, for a Map keyed by such large numbers is slow. */
export class MergeTable {
  private readonly lefts: Int32Array;
  private readonly rights: Int32Array;
  private readonly ranks: Int32Array;
  private readonly mask: number;
  /** [merge] id that a merge makes, by rank */
  readonly results: Int32Array;

  constructor(merges: readonly (readonly [left: number, right: number, result: number])[]) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(2, merges.length * 2)));
    this.mask = size - 1;
    this.lefts = new Int32Array(size).fill(-1);
    this.rights = new Int32Array(size);
    this.ranks = new Int32Array(size);
    this.results = Int32Array.from(merges, ([, , result]) => result);
    merges.forEach(([left, right], rank) => {
      const at = this.slot(left, right);
      this.lefts[at] = left;
      this.rights[at] = right;
      this.ranks[at] = rank;
    });
  }

  /** Rank of the merge of two ids; -1 when there is none. */
  rank(left: number, right: number): number {
    const at = this.slot(left, right);
    return this.lefts[at] === -1 ? -1 : this.ranks[at]!;
  }

  /** Where the pair is, or would be put. */
  private slot(left: number, right: number): number {
    let at = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 7;
    for (at &= this.mask; this.lefts[at] !== -1 && (this.lefts[at] !== left || this.rights[at] !== right);) at = (at + 1) & this.mask;
    return at;
  }
}

/** Up to this many symbols a plain search for the lowest rank beats a heap. */
const SHORT = 48;

/** The ids of a word after all merges; `symbols` holds the ids of its bytes and is used up. */
export function mergeWord(symbols: number[], merges: MergeTable): number[] {
  return symbols.length <= SHORT ? mergeShort(symbols, merges) : mergeLong(symbols, merges);
}

function mergeShort(symbols: number[], merges: MergeTable): number[] {
  const ranks: number[] = [];
  for (let i = 0; i + 1 < symbols.length; i++) ranks.push(merges.rank(symbols[i]!, symbols[i + 1]!));
  for (;;) {
    let best = -1;
    for (let i = 0; i < ranks.length; i++) if (ranks[i]! >= 0 && (best < 0 || ranks[i]! < ranks[best]!)) best = i;
    if (best < 0) return symbols;
    symbols[best] = merges.results[ranks[best]!]!;
    symbols.splice(best + 1, 1);
    ranks.splice(best, 1);
    if (best < ranks.length) ranks[best] = merges.rank(symbols[best]!, symbols[best + 1]!);
    if (best > 0) ranks[best - 1] = merges.rank(symbols[best - 1]!, symbols[best]!);
  }
}

/** The same by a linked list and a heap of candidates, so that a word of a megabyte takes a second, not a day. */
function mergeLong(symbols: number[], merges: MergeTable): number[] {
  const count = symbols.length;
  const next = Int32Array.from({ length: count }, (_, i) => i + 1);
  const before = Int32Array.from({ length: count }, (_, i) => i - 1);
  const heap = new Heap();
  const offer = (left: number): void => {
    const right = left < 0 ? count : next[left]!;
    if (right >= count) return;
    const rank = merges.rank(symbols[left]!, symbols[right]!);
    if (rank >= 0) heap.push(rank * count + left);
  };
  for (let i = 0; i < count; i++) offer(i);
  for (let key = heap.pop(); key !== undefined; key = heap.pop()) {
    const left = key % count;
    const rank = (key - left) / count;
    const right = next[left]!;
    // a candidate is stale when one of its symbols has merged with another since
    if (symbols[left]! < 0 || right >= count || merges.rank(symbols[left]!, symbols[right]!) !== rank) continue;
    symbols[left] = merges.results[rank]!;
    symbols[right] = -1;
    const after = next[right]!;
    next[left] = after;
    if (after < count) before[after] = left;
    offer(before[left]!);
    offer(left);
  }
  return symbols.filter((id) => id >= 0);
}

/** A binary heap of numbers, the smallest on top. */
class Heap {
  private readonly items: number[] = [];

  push(item: number): void {
    let at = this.items.push(item) - 1;
    for (let parent = (at - 1) >> 1; at > 0 && this.items[parent]! > item; parent = (at - 1) >> 1) {
      this.items[at] = this.items[parent]!;
      at = parent;
    }
    this.items[at] = item;
  }

  pop(): number | undefined {
    const top = this.items[0];
    const item = this.items.pop();
    if (item === undefined || this.items.length === 0) return top;
    let at = 0;
    for (let child = 1; child < this.items.length; child = 2 * at + 1) {
      if (this.items[child + 1]! < this.items[child]!) child++;
      if (this.items[child]! >= item) break;
      this.items[at] = this.items[child]!;
      at = child;
    }
    this.items[at] = item;
    return top;
  }
}
