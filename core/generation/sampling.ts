import { UserError } from "../errors.js";
import { uniformAt } from "../rows/random.js";

/** How a token is chosen from logits, as transformers' logits processors do it: repetition penalty, temperature, top-k, top-p, and then a draw. */

/** No logit of a sound model is above this; divided by the temperature it is still finite. */
const MOST = 1e30;

/** Settings of the choice. */
export interface Sampling {
  /** logits are divided by it before a draw, at least 1e-6; 0: the likeliest token is taken, and topK, topP and seed say nothing */
  readonly temperature: number;
  /** the smallest set of likeliest tokens whose shares reach this is drawn from; 1: all */
  readonly topP: number;
  /** so many of the likeliest tokens are drawn from, and those that are as likely as the last of them; 0: all */
  readonly topK: number;
  /** logits of tokens that stand in the prompt or the answer are divided by it, negative ones multiplied; at least 1e-6; 1: nothing */
  readonly repetitionPenalty: number;
  /** a whole number from 0 to 2^53 - 1 */
  readonly seed: number;
}

/** The likeliest token, each time. */
export const GREEDY: Sampling = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0 };

/** Makes tokens that have been said less likely, in place. */
export function penalize(logits: Float32Array, said: Iterable<number>, penalty: number): void {
  if (penalty === 1) return;
  const factor = Math.fround(penalty);
  for (const id of said) logits[id] = logits[id]! < 0 ? logits[id]! * factor : logits[id]! / factor;
}

/** Leaves, in place, of the logits what is drawn from, divided by the temperature, and -Infinity elsewhere. */
export function filterLogits(logits: Float32Array, { temperature, topK, topP }: Sampling): void {
  const divisor = Math.fround(temperature);
  if (divisor !== 1) for (let id = 0; id < logits.length; id++) logits[id]! /= divisor;
  if (topK > 0 && topK < logits.length) keepFrom(logits, largestAt(logits, topK - 1));
  if (topP < 1) keepShare(logits, topP);
}

/** Index of the largest value; the first of equal ones. */
export function largest(values: Float32Array): number {
  let best = 0;
  for (let at = 1; at < values.length; at++) if (values[at]! > values[best]!) best = at;
  return best;
}

/** The token at share `u` in [0, 1) of the softmax, where tokens stand in the order of their ids. */
export function drawAt(logits: Float32Array, u: number): number {
  const most = logits[largest(logits)]!;
  let total = 0;
  for (let id = 0; id < logits.length; id++) if (logits[id]! > -Infinity) total += Math.exp(logits[id]! - most);
  let left = u * total;
  let last = 0;
  for (let id = 0; id < logits.length; id++) {
    if (!(logits[id]! > -Infinity)) continue;
    last = id;
    left -= Math.exp(logits[id]! - most);
    if (left < 0) return id;
  }
  // sums that were rounded may leave a rest
  return last;
}

/**
 * The next token of a sequence: its draw depends on the seed, `stream`, which names the sequence, and `index`, its place among the new tokens.
 * Changes the logits. Throws UserError with `place` if the logits are not numbers that can be compared.
 */
export function chooseToken(
  logits: Float32Array,
  said: Iterable<number>,
  sampling: Sampling,
  stream: number,
  index: number,
  place: Readonly<Record<string, string | number>> = {},
): number {
  penalize(logits, said, sampling.repetitionPenalty);
  checkLogits(logits, place);
  if (sampling.temperature === 0) return largest(logits);
  filterLogits(logits, sampling);
  return drawAt(logits, uniformAt(sampling.seed, stream, index));
}

/** Throws UserError for NaN, for what has overflowed, and if no token is possible. */
function checkLogits(logits: Float32Array, place: Readonly<Record<string, string | number>>): void {
  const wrong = logits.findIndex((logit) => !(logit < MOST));
  if (wrong < 0 && logits[largest(logits)]! > -Infinity) return;
  const problem = "a model's logits are not finite, so no next token can be chosen: its weights are damaged, or its training has diverged";
  throw new UserError(problem, {
    ...place,
    ...(wrong >= 0 && { token: wrong }),
    got: wrong < 0 ? "-Infinity for every token" : logits[wrong]!,
  });
}

/** Leaves values from `least` on. */
function keepFrom(values: Float32Array, least: number): void {
  for (let at = 0; at < values.length; at++) if (values[at]! < least) values[at] = -Infinity;
}

/** Leaves the smallest set of likeliest tokens whose shares reach `share`; of equally likely ones the first. */
function keepShare(logits: Float32Array, share: number): void {
  const most = logits[largest(logits)]!;
  const weights = Float64Array.from(logits, (logit) => Math.exp(logit - most));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  // all those below this together have less than the rest of the share, so the set lies above
  const least = ((1 - share) / weights.length) * total;
  const candidates: number[] = [];
  for (let id = 0; id < weights.length; id++) if (weights[id]! >= least) candidates.push(id);
  candidates.sort((a, b) => weights[b]! - weights[a]! || a - b);
  let mass = 0;
  let count = 0;
  while (count < candidates.length && (count === 0 || mass < share * total)) mass += weights[candidates[count++]!]!;
  const kept = candidates.slice(0, count).map((id) => [id, logits[id]!] as const);
  logits.fill(-Infinity);
  for (const [id, logit] of kept) logits[id] = logit;
}

/** The value that stands at `place` when the largest come first. */
function largestAt(values: Float32Array, place: number): number {
  const rest = Float32Array.from(values);
  let [low, high] = [0, rest.length - 1];
  while (low < high) {
    const pivot = rest[(low + high) >> 1]!;
    let [left, right] = [low, high];
    while (left <= right) {
      while (rest[left]! > pivot) left++;
      while (rest[right]! < pivot) right--;
      if (left > right) break;
      [rest[left], rest[right]] = [rest[right]!, rest[left]!];
      left++;
      right--;
    }
    if (place <= right) high = right;
    else if (place >= left) low = left;
    else break;
  }
  return rest[place]!;
}
