import type { IdBuffer } from "./id-buffer.js";

/** Words that are kept with their ids; all are forgotten when there are so many. */
const MOST_WORDS = 1 << 17;
/** UTF-16 units of the longest word that is kept. */
const LONGEST = 64;
const SLOTS = MOST_WORDS * 2;

/** Numbers that are kept of a word: its hash, where its units start, how many units and ids it has, and its one id or where its ids start. */
const RECORD = 4;
const ID_BITS = 16;

/** Ids by word, found by a place in a text: without a string for each word, and in arrays that garbage collection need not look through. */
export class WordCache {
  /** [SLOTS] entry + 1 of an open-addressing table; 0: free */
  private readonly slots = new Int32Array(SLOTS);
  /** [MOST_WORDS x RECORD] together, for they are asked for together */
  private readonly records = new Int32Array(MOST_WORDS * RECORD);
  private units = new Uint16Array(1 << 16);
  private ids = new Int32Array(1 << 12);
  private entries = 0;
  private unitCount = 0;
  private idCount = 0;

  /** Appends the ids of the word at [start, end) of a text to `out`, which has room; false when the cache doesn't know it. */
  append(text: Uint16Array, start: number, end: number, out: IdBuffer): boolean {
    const entry = this.slots[this.slot(text, start, end, hashOf(text, start, end))]! - 1;
    if (entry < 0) return false;
    const count = this.records[entry * RECORD + 2]! & ((1 << ID_BITS) - 1);
    const value = this.records[entry * RECORD + 3]!;
    if (count === 1) out.ids[out.length++] = value;
    else for (let at = value; at < value + count; at++) out.ids[out.length++] = this.ids[at]!;
    return true;
  }

  /** Keeps a word that it doesn't know, with the first `count` of `ids`; a very long one is passed over. */
  add(text: Uint16Array, start: number, end: number, ids: Int32Array, count: number): void {
    if (end - start > LONGEST) return;
    if (this.entries === MOST_WORDS) this.forget();
    const hash = hashOf(text, start, end);
    const slot = this.slot(text, start, end, hash);
    const at = this.entries++ * RECORD;
    if (this.unitCount + end - start > this.units.length) this.units = grown(this.units, new Uint16Array(this.units.length * 2));
    if (this.idCount + count > this.ids.length) this.ids = grown(this.ids, new Int32Array(this.ids.length * 2));
    this.records[at] = hash;
    this.records[at + 1] = this.unitCount;
    this.records[at + 2] = ((end - start) << ID_BITS) | count;
    this.records[at + 3] = count === 1 ? ids[0]! : this.idCount;
    for (let unit = start; unit < end; unit++) this.units[this.unitCount++] = text[unit]!;
    if (count > 1) for (let id = 0; id < count; id++) this.ids[this.idCount++] = ids[id]!;
    this.slots[slot] = this.entries;
  }

  private forget(): void {
    this.slots.fill(0);
    this.entries = this.unitCount = this.idCount = 0;
  }

  /** The slot where a word is, or would be put. */
  private slot(text: Uint16Array, start: number, end: number, hash: number): number {
    for (let slot = hash & (SLOTS - 1); ; slot = (slot + 1) & (SLOTS - 1)) {
      const entry = this.slots[slot]! - 1;
      if (entry < 0 || (this.records[entry * RECORD] === hash && this.isWord(entry, text, start, end))) return slot;
    }
  }

  private isWord(entry: number, text: Uint16Array, start: number, end: number): boolean {
    if (this.records[entry * RECORD + 2]! >> ID_BITS !== end - start) return false;
    const shift = this.records[entry * RECORD + 1]! - start;
    for (let at = start; at < end; at++) if (this.units[at + shift] !== text[at]) return false;
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
