/** Words that are kept with their ids; all are forgotten when there are so many. */
const MOST_WORDS = 1 << 17;
/** UTF-16 units of the longest word that is kept. */
const LONGEST = 64;
const SLOTS = MOST_WORDS * 2;

/** Ids by word, found by a place in a text: without a string for each word, and in arrays that garbage collection need not look through. */
export class WordCache {
  /** [SLOTS] entry + 1 of an open-addressing table; 0: free */
  private readonly slots = new Int32Array(SLOTS);
  private readonly hashes = new Int32Array(MOST_WORDS);
  /** [entries + 1] where a word's units and ids start; they end where the next one's start */
  private readonly unitStarts = new Int32Array(MOST_WORDS + 1);
  private readonly idStarts = new Int32Array(MOST_WORDS + 1);
  private units = new Uint16Array(1 << 16);
  private ids = new Int32Array(1 << 16);
  private entries = 0;

  /** Adds the ids of the word at [start, end) of a text to `out`; false when the cache doesn't know it. */
  append(text: Uint16Array, start: number, end: number, out: number[]): boolean {
    const entry = this.slots[this.slot(text, start, end, hashOf(text, start, end))]! - 1;
    if (entry < 0) return false;
    for (let at = this.idStarts[entry]!; at < this.idStarts[entry + 1]!; at++) out.push(this.ids[at]!);
    return true;
  }

  /** Keeps a word that it doesn't know; a very long one is passed over. */
  add(text: Uint16Array, start: number, end: number, ids: readonly number[]): void {
    if (end - start > LONGEST) return;
    if (this.entries === MOST_WORDS) this.forget();
    const hash = hashOf(text, start, end);
    const slot = this.slot(text, start, end, hash);
    const entry = this.entries++;
    const unitStart = this.unitStarts[entry]!;
    const idStart = this.idStarts[entry]!;
    if (unitStart + end - start > this.units.length) this.units = grown(this.units, new Uint16Array(this.units.length * 2));
    if (idStart + ids.length > this.ids.length) this.ids = grown(this.ids, new Int32Array(this.ids.length * 2));
    this.units.set(text.subarray(start, end), unitStart);
    this.ids.set(ids, idStart);
    this.unitStarts[entry + 1] = unitStart + end - start;
    this.idStarts[entry + 1] = idStart + ids.length;
    this.hashes[entry] = hash;
    this.slots[slot] = entry + 1;
  }

  private forget(): void {
    this.slots.fill(0);
    this.entries = 0;
  }

  /** The slot where a word is, or would be put. */
  private slot(text: Uint16Array, start: number, end: number, hash: number): number {
    for (let slot = hash & (SLOTS - 1); ; slot = (slot + 1) & (SLOTS - 1)) {
      const entry = this.slots[slot]! - 1;
      if (entry < 0 || (this.hashes[entry] === hash && this.isWord(entry, text, start, end))) return slot;
    }
  }

  private isWord(entry: number, text: Uint16Array, start: number, end: number): boolean {
    const unitStart = this.unitStarts[entry]!;
    if (this.unitStarts[entry + 1]! - unitStart !== end - start) return false;
    for (let at = start; at < end; at++) if (this.units[unitStart + at - start] !== text[at]) return false;
    return true;
  }
}

function hashOf(text: Uint16Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ text[at]!, 0x01000193);
  return hash ^ (hash >>> 15);
}

function grown<T extends Uint16Array | Int32Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
