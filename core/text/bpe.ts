/** Byte-pair merging of one word: the pair with the lowest rank merges next; of equal pairs, the leftmost. */

/** Numbers in a slot: a pair's left id (-1: the slot is free) and right id, the rank of its merge, and the id that the merge makes. */
const SLOT = 4;

/** Merges by the pair of ids that they join. This is an open-addressing table, because a Map with such large keys is slow. */
export class MergeTable {
  /** [slots x SLOT] in one array, because a slot's numbers are read together; the number of slots is a power of two */
  readonly slots: Int32Array;
  private readonly mask: number;
  private merges = 0;

  /** `slots`: those of another table, which are used and not copied. */
  constructor(slots: Int32Array) {
    this.slots = slots;
    this.mask = slots.length / SLOT - 1;
  }

  /** An empty table for up to `most` merges. */
  static empty(most: number): MergeTable {
    return new MergeTable(new Int32Array(SLOT * 2 ** Math.ceil(Math.log2(Math.max(2, most * 2)))).fill(-1));
  }

  /** Adds a merge. It ranks after all merges that were added before. */
  add(left: number, right: number, result: number): void {
    this.slots.set([left, right, this.merges++, result], this.slot(left, right));
  }

  /** Rank of the merge of two ids; -1 when there is none. */
  rank(left: number, right: number): number {
    return this.slots[this.slot(left, right) + 2]!;
  }

  /** The id that the merge of two ids makes. */
  result(left: number, right: number): number {
    return this.slots[this.slot(left, right) + 3]!;
  }

  /** Index in `slots` of the pair, or of the free slot where it belongs. */
  private slot(left: number, right: number): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 7;
    for (slot &= this.mask; ; slot = (slot + 1) & this.mask) {
      const known = this.slots[slot * SLOT]!;
      if (known === -1 || (known === left && this.slots[slot * SLOT + 1] === right)) return slot * SLOT;
    }
  }
}

/** Up to this many symbols, a plain search for the lowest rank is faster than a heap. */
const SHORT = 48;
/** [SHORT] rank of the merge of each symbol with its right neighbour; -1: there is none. */
const ranks = new Int32Array(SHORT);

/** Merges a word in place: its byte ids, the first `count` of `symbols`, become its token ids. Returns the number of token ids. */
export function mergeWord(symbols: Int32Array, count: number, merges: MergeTable): number {
  return count <= SHORT ? mergeShort(symbols, count, merges) : mergeLong(symbols, count, merges);
}

function mergeShort(symbols: Int32Array, count: number, merges: MergeTable): number {
  let last = count - 1;
  for (let i = 0; i < last; i++) ranks[i] = merges.rank(symbols[i]!, symbols[i + 1]!);
  for (;;) {
    let best = -1;
    for (let i = 0; i < last; i++) if (ranks[i]! >= 0 && (best < 0 || ranks[i]! < ranks[best]!)) best = i;
    if (best < 0) return last + 1;
    symbols[best] = merges.result(symbols[best]!, symbols[best + 1]!);
    for (let i = best + 1; i < last; i++) {
      symbols[i] = symbols[i + 1]!;
      ranks[i - 1] = ranks[i]!;
    }
    last--;
    if (best < last) ranks[best] = merges.rank(symbols[best]!, symbols[best + 1]!);
    if (best > 0) ranks[best - 1] = merges.rank(symbols[best - 1]!, symbols[best]!);
  }
}

/** Does the same with a linked list and a heap of candidates, so that a word of a megabyte takes a second and not a day. */
function mergeLong(symbols: Int32Array, count: number, merges: MergeTable): number {
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
    // a candidate is stale if one of its symbols has merged with another since
    if (symbols[left]! < 0 || right >= count || merges.rank(symbols[left]!, symbols[right]!) !== rank) continue;
    symbols[left] = merges.result(symbols[left]!, symbols[right]!);
    symbols[right] = -1;
    const after = next[right]!;
    next[left] = after;
    if (after < count) before[after] = left;
    offer(before[left]!);
    offer(left);
  }
  const merged = symbols.subarray(0, count).filter((id) => id >= 0);
  symbols.set(merged);
  return merged.length;
}

/** A binary heap of numbers, the smallest on top. */
class Heap {
  private readonly items: number[] = [];

  push(item: number): void {
    let index = this.items.push(item) - 1;
    for (let parent = (index - 1) >> 1; index > 0 && this.items[parent]! > item; parent = (index - 1) >> 1) {
      this.items[index] = this.items[parent]!;
      index = parent;
    }
    this.items[index] = item;
  }

  pop(): number | undefined {
    const top = this.items[0];
    const item = this.items.pop();
    if (item === undefined || this.items.length === 0) return top;
    let index = 0;
    for (let child = 1; child < this.items.length; child = 2 * index + 1) {
      if (this.items[child + 1]! < this.items[child]!) child++;
      if (this.items[child]! >= item) break;
      this.items[index] = this.items[child]!;
      index = child;
    }
    this.items[index] = item;
    return top;
  }
}
