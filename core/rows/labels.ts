import type { Encoder } from "../text/encoder.js";
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
 * The tokens, [first, end), that parts of a text became. `ids`: the tokens of the whole text, `parts` in UTF-16 units, in
 * order. A token that a part shares with the text around it belongs to the part.
 */
export function labelSpans(
  encoder: Encoder,
  text: string,
  ids: readonly number[],
  parts: readonly (readonly [first: number, end: number])[],
): [first: number, end: number][] {
  // tokens before `at`, and whether one goes on beyond it
  const split = (at: number): { readonly before: number; readonly shared: boolean } => {
    if (at >= text.length) return { before: ids.length, shared: false };
    const start = encoder.encode(text.slice(0, at));
    let before = 0;
    while (before < start.length && start[before] === ids[before]) before++;
    return { before, shared: before < start.length };
  };
  return parts.map(([first, end]) => {
    const last = split(end);
    return [split(first).before, last.shared ? last.before + 1 : last.before];
  });
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
