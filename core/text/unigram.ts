/** Unigram: of all ways to cut a word into pieces, the one with the largest sum of scores. */

/** What Unigram needs from a tokenizer's files, in plain data. */
export interface UnigramTables {
  readonly kind: "unigram";
  /** scores by piece; a piece's place is its id */
  readonly pieces: readonly (readonly [piece: string, score: number])[];
  /** id of what no piece covers */
  readonly unknown: number;
}

/** How much less a character without a piece scores than the worst piece. */
const PENALTY = 10;

/** Makes a function that puts a word's ids into `ids` and returns their number. Of equal sums, the one whose pieces begin earlier counts, from the end on. */
export function createUnigram({ pieces, unknown }: UnigramTables): (word: string, ids: Int32Array) => number {
  const idOf = new Map(pieces.map(([piece], id) => [piece, id]));
  const longest = pieces.reduce((most, [piece]) => Math.max(most, piece.length), 1);
  const worst = pieces.reduce((least, [, score]) => Math.min(least, score), Infinity) - PENALTY;
  return (word, ids) => {
    // of the best way up to each unit: its sum, and its last piece's id and start; -1: none ends there
    const sums = new Float64Array(word.length + 1);
    const starts = new Int32Array(word.length + 1).fill(-1);
    const last = new Int32Array(word.length + 1);
    const offer = (start: number, end: number, score: number, id: number): void => {
      const sum = score + sums[start]!;
      if (starts[end]! >= 0 && sum <= sums[end]!) return;
      sums[end] = sum;
      starts[end] = start;
      last[end] = id;
    };
    for (let start = 0; start < word.length;) {
      const next = start + (word.codePointAt(start)! > 0xffff ? 2 : 1);
      let hasOne = false;
      for (let end = next; end <= Math.min(word.length, start + longest); end++) {
        const id = idOf.get(word.slice(start, end));
        if (id === undefined) continue;
        offer(start, end, pieces[id]![1], id);
        hasOne ||= end === next;
      }
      if (!hasOne) offer(start, next, worst, unknown);
      start = next;
    }
    const path: number[] = [];
    for (let end = word.length; end > 0; end = starts[end]!)
      // unknown characters side by side are one
      if (last[end] !== unknown || path.at(-1) !== unknown) path.push(last[end]!);
    ids.set(path.reverse());
    return path.length;
  };
}
