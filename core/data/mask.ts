import { IGNORED } from "./tokens.js";

/**
 * Labels of a row: -100 up to and including the first occurrence of `key`, and wherever the token is `padId`;
 * else the token itself. Null when the key isn't there: without it nobody knows where the response starts.
 */
export function responseLabels(ids: readonly number[], key: readonly number[], padId: number): number[] | null {
  let start = ids.indexOf(key[0]!);
  while (start >= 0 && !key.every((id, offset) => ids[start + offset] === id)) start = ids.indexOf(key[0]!, start + 1);
  if (start < 0) return null;
  return ids.map((id, at) => (at < start + key.length || id === padId ? IGNORED : id));
}

/** How many tokens of a row are predicted and scored: labels are shifted by one, so the first never is. */
export function lossTokens(labels: Int32Array | readonly number[]): number {
  let count = 0;
  for (let at = 1; at < labels.length; at++) if (labels[at] !== IGNORED) count++;
  return count;
}
