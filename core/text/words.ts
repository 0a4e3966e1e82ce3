import type { IdBuffer } from "./id-buffer.js";
import { WordCache } from "./word-cache.js";

/** How a tokenizer cuts a text into words, and what a word becomes; indices are of UTF-16 units. */
export interface WordRule {
  /** End of the word that begins at `start`; `end` is the end of the text, above `start`. */
  wordEnd(this: void, units: Uint16Array, start: number, end: number): number;
  /** Puts the ids of the word at [start, end) into `ids`, which has room for three ids a unit. Returns their number. */
  wordIds(this: void, text: string, units: Uint16Array, start: number, end: number, ids: Int32Array): number;
}

/** Appends the ids of a text's words. It caches those of words that it has seen. */
export function createWordEncoder({ wordEnd, wordIds }: WordRule): (text: string, out: IdBuffer) => void {
  const cache = new WordCache();
  let units = new Uint16Array(1 << 12);
  let ids = new Int32Array(1 << 8);
  return (text, out) => {
    if (text.length > units.length) units = new Uint16Array(text.length * 2);
    for (let index = 0; index < text.length; index++) units[index] = text.charCodeAt(index);
    // a token has at least one byte, and a UTF-16 unit at most three
    out.reserve(3 * text.length);
    for (let start = 0; start < text.length;) {
      const end = wordEnd(units, start, text.length);
      if (!cache.append(units, start, end, out)) {
        if (3 * (end - start) > ids.length) ids = new Int32Array(3 * (end - start));
        const count = wordIds(text, units, start, end, ids);
        cache.add(units, start, end, ids, count);
        for (let index = 0; index < count; index++) out.ids[out.length++] = ids[index]!;
      }
      start = end;
    }
  };
}
