import { IGNORED } from "./token-rows.js";

/** Where the response starts: after the first occurrence of `key`; null when the key is not there. */
export function responseStart(ids: Int32Array, key: readonly number[]): number | null {
  let start = ids.indexOf(key[0]!);
  while (start >= 0 && !key.every((id, offset) => ids[start + offset] === id)) start = ids.indexOf(key[0]!, start + 1);
  return start < 0 ? null : start + key.length;
}

/** Writes a row's labels: the tokens themselves from `start` on, -100 before it and wherever the token is `padId`. */
export function maskRow(ids: Int32Array, start: number, padId: number | null, labels: Int32Array): void {
  labels.fill(IGNORED, 0, start);
  for (let at = start; at < ids.length; at++) labels[at] = ids[at] === padId ? IGNORED : ids[at]!;
}

/**
 * The first token from index `from` on that is predicted and scored; the row's length when there is none. This is the one rule of
 * shifted labels: the label of token i is predicted at token i - 1, so the first token never is. A loop over all of them is
 * `for (let at = nextScored(labels, 0); at < labels.length; at = nextScored(labels, at + 1))`.
 */
export function nextScored(labels: Int32Array | readonly number[], from: number): number {
  let at = Math.max(1, from);
  while (at < labels.length && labels[at] === IGNORED) at++;
  return at;
}

/** How many tokens of a row are predicted and scored. */
export function lossTokens(labels: Int32Array | readonly number[]): number {
  let count = 0;
  for (let at = nextScored(labels, 0); at < labels.length; at = nextScored(labels, at + 1)) count++;
  return count;
}
