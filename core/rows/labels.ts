import { IGNORED } from "./token-rows.js";

/** Where the response starts: behind the first occurrence of `key`. Null when the key isn't there: without it nobody knows. */
export function responseStart(ids: Int32Array, key: readonly number[]): number | null {
  let start = ids.indexOf(key[0]!);
  while (start >= 0 && !key.every((id, offset) => ids[start + offset] === id)) start = ids.indexOf(key[0]!, start + 1);
  return start < 0 ? null : start + key.length;
}

/** Writes a row's labels: the tokens themselves from `start` on, -100 before it and wherever the token is `padId`. */
export function maskRow(ids: Int32Array, start: number, padId: number, labels: Int32Array): void {
  labels.fill(IGNORED, 0, start);
  for (let at = start; at < ids.length; at++) labels[at] = ids[at] === padId ? IGNORED : ids[at]!;
}

/** How many tokens of a row are predicted and scored: labels are shifted by one, so the first never is. */
export function lossTokens(labels: Int32Array | readonly number[]): number {
  let count = 0;
  for (let at = 1; at < labels.length; at++) if (labels[at] !== IGNORED) count++;
  return count;
}
