import type { IdBuffer } from "./id-buffer.js";

/** The most words that are kept. When the cache is full, it forgets all of them. */
const MOST_WORDS = 1 << 17;
/** UTF-16 units of the longest word that is kept. */
const LONGEST = 64;
const SLOTS = MOST_WORDS * 2;

/**
 * Numbers of a word: its hash, the index of its first unit, its counts of units and ids (packed), and its only id or the
 * index of its first id.
 */
const RECORD = 4;
const ID_BITS = 16;

/** Ids by word. A word is looked up by its range in a text, so no string is made; garbage collection need not look through the arrays. */
export class WordCache {
  /** [SLOTS] entry + 1 of an open-addressing table; 0: free */
  private readonly slots = new Int32Array(SLOTS);
  /** [MOST_WORDS x RECORD] in one array, because a word's numbers are read together */
  private readonly records = new Int32Array(MOST_WORDS * RECORD);
  private units = new Uint16Array(1 << 16);
  private ids = new Int32Array(1 << 12);
  private entries = 0;
  private unitCount = 0;
  private idCount = 0;

  /**
   * Appends the ids of the word at [start, end) of a text to `out`, which must have room. Returns false if the cache does
   * not know the word.
   */
  append(text: Uint16Array, start: number, end: number, out: IdBuffer): boolean {
    const entry = this.slots[this.slot(text, start, end, hashOf(text, start, end))]! - 1;
    if (entry < 0) return false;
    const count = this.records[entry * RECORD + 2]! & ((1 << ID_BITS) - 1);
    const value = this.records[entry * RECORD + 3]!;
    if (count === 1) out.ids[out.length++] = value;
    else for (let index = value; index < value + count; index++) out.ids[out.length++] = this.ids[index]!;
    return true;
  }

  /** Keeps a word that the cache does not know, with the first `count` of `ids`. A very long word is not kept. */
  add(text: Uint16Array, start: number, end: number, ids: Int32Array, count: number): void {
    if (end - start > LONGEST) return;
    if (this.entries === MOST_WORDS) this.forget();
    const hash = hashOf(text, start, end);
    const slot = this.slot(text, start, end, hash);
    const record = this.entries++ * RECORD;
    if (this.unitCount + end - start > this.units.length) this.units = grown(this.units, new Uint16Array(this.units.length * 2));
    if (this.idCount + count > this.ids.length) this.ids = grown(this.ids, new Int32Array(this.ids.length * 2));
    this.records[record] = hash;
    this.records[record + 1] = this.unitCount;
    this.records[record + 2] = ((end - start) << ID_BITS) | count;
    this.records[record + 3] = count === 1 ? ids[0]! : this.idCount;
    for (let unit = start; unit < end; unit++) this.units[this.unitCount++] = text[unit]!;
    if (count > 1) for (let id = 0; id < count; id++) this.ids[this.idCount++] = ids[id]!;
    this.slots[slot] = this.entries;
  }

  private forget(): void {
    this.slots.fill(0);
    this.entries = this.unitCount = this.idCount = 0;
  }

  /** The slot where a word is, or where it belongs. */
  private slot(text: Uint16Array, start: number, end: number, hash: number): number {
    for (let slot = hash & (SLOTS - 1); ; slot = (slot + 1) & (SLOTS - 1)) {
      const entry = this.slots[slot]! - 1;
      if (entry < 0 || (this.records[entry * RECORD] === hash && this.isWord(entry, text, start, end))) return slot;
    }
  }

  private isWord(entry: number, text: Uint16Array, start: number, end: number): boolean {
    if (this.records[entry * RECORD + 2]! >> ID_BITS !== end - start) return false;
    const shift = this.records[entry * RECORD + 1]! - start;
    for (let index = start; index < end; index++) if (this.units[index + shift] !== text[index]) return false;
    return true;
  }
}

function hashOf(text: Uint16Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let index = start; index < end; index++) hash = Math.imul(hash ^ text[index]!, 0x01000193);
  return hash ^ (hash >>> 15);
}

function grown<T extends Uint16Array | Int32Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
