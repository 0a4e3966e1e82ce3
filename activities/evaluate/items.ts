import { nextScored } from "../../core/rows/labels.js";
import type { TokenSplit } from "../../core/rows/token-rows.js";

/** What is evaluated, and how it is judged; pure. */

/** Rows and tokens that go through a model at once, at most (a longer row goes alone). */
const BATCH_ROWS = 16;
const BATCH_TOKENS = 2048;

/** Rows [start, end) of a split. */
export interface Batch {
  readonly start: number;
  readonly end: number;
}

/** Cuts a split into batches of neighbouring rows. */
export function planBatches(split: TokenSplit): Batch[] {
  const batches: Batch[] = [];
  let start = 0;
  let tokens = 0;
  for (let row = 0; row < split.count; row++) {
    const { length } = split.row(row).inputIds;
    if (row > start && (row - start === BATCH_ROWS || tokens + length > BATCH_TOKENS)) {
      batches.push({ start, end: row });
      start = row;
      tokens = 0;
    }
    tokens += length;
  }
  if (start < split.count) batches.push({ start, end: split.count });
  return batches;
}

/** What a model is asked to go on with, and what the row has there. */
export interface SampleTask {
  /** index of the row in its source file */
  readonly row: number;
  readonly prompt: readonly number[];
  readonly expected: readonly number[];
}

/** `count` rows spread evenly over the split; those without a response are passed over. */
export function planSamples(split: TokenSplit, count: number): SampleTask[] {
  const chosen = Array.from({ length: Math.min(count, split.count) }, (_, index) =>
    Math.floor((index * split.count) / Math.min(count, split.count)),
  );
  return chosen.flatMap((index) => {
    const row = split.row(index);
    const first = nextScored(row.labels, 0);
    return first >= row.labels.length
      ? []
      : [{ row: row.source, prompt: [...row.inputIds.subarray(0, first)], expected: [...row.inputIds.subarray(first)] }];
  });
}

/** Whether the tuned model may become the latest one. */
export interface Gate {
  /** false: there was nothing to judge by, and the gate stands open */
  readonly judged: boolean;
  readonly passed: boolean;
  /** perplexity of the tuned model by that of the base */
  readonly ratio: number | null;
  readonly maxPerplexityRatio: number;
}

/** exp of the mean loss of either model; null where there was nothing to score. */
export interface Perplexity {
  readonly base: number | null;
  readonly tuned: number | null;
}

/** Compares the two perplexities; without them the gate stands open. */
export function judge({ base, tuned }: Perplexity, maxPerplexityRatio: number): Gate {
  if (base === null || tuned === null) return { judged: false, passed: true, ratio: null, maxPerplexityRatio };
  const ratio = tuned / base;
  return { judged: true, passed: ratio <= maxPerplexityRatio, ratio, maxPerplexityRatio };
}
