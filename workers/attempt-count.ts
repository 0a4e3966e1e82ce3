/**
 * Failures of an activity's work in a row, counted by the work itself. The server's number of an attempt counts stops of a
 * worker and pauses as well. The count travels in the heartbeat's details, which the next attempt gets, on whichever machine.
 */

/** After so many failures in a row that got no further, the work is given up. */
export const MOST_FAILURES = 20;

/** No wait before an attempt is longer. */
const MAX_WAIT_MS = 30_000;

/** What an activity's heartbeat says of its attempts, beside its progress. */
export interface AttemptCount {
  /** the server's number of the attempt that says so */
  readonly attempt: number;
  /** in a row, without getting further in between */
  readonly failures: number;
  /** whether the attempt has not said how it ended: if it never does, its process died, and that is a failure */
  readonly open: boolean;
  /** the most that was ever done, in the progress's unit */
  readonly reached: number;
  /** what the last failure said */
  readonly last: string;
}

/** What a death says of itself. */
const DIED = "its worker ended without a word: it was killed, memory ran out, or it was not heard of for too long";
/** Characters of a failure's message that heartbeats carry along. */
const LAST_CHARACTERS = 500;

/**
 * The count at the beginning of an attempt; `before`: what the last attempt's heartbeat said, if anything came through. A
 * lost word is taken for one death, so it ends no run early, and work that always dies at once is counted all the same.
 */
export function beginAttempt(before: AttemptCount | undefined, attempt: number): AttemptCount {
  // the first attempt, or one that a user has reset
  if (attempt === 1) return { attempt, failures: 0, open: true, reached: 0, last: "" };
  if (before === undefined) return { attempt, failures: 1, open: true, reached: 0, last: DIED };
  const died = before.open || before.attempt !== attempt - 1;
  return { ...before, attempt, open: true, ...(died && { failures: before.failures + 1, last: DIED }) };
}

/** Counts what is done: work that gets further than ever before has no failures behind it. */
export function reach(count: AttemptCount, done: number): AttemptCount {
  return done > count.reached ? { ...count, reached: done, failures: 0 } : count;
}

/** The attempt was asked to stop, by a shutdown or a pause: that is not a failure. */
export function stopAttempt(count: AttemptCount): AttemptCount {
  return { ...count, open: false };
}

/** The attempt failed by itself. */
export function failAttempt(count: AttemptCount, message: string): AttemptCount {
  return { ...count, open: false, failures: count.failures + 1, last: message.slice(0, LAST_CHARACTERS) };
}

/** Milliseconds to wait before an attempt's work begins: `firstMs` after one failure, twice as long after each further one. */
export function waitBefore({ failures }: AttemptCount, firstMs: number): number {
  return failures === 0 ? 0 : Math.min(firstMs * 2 ** (failures - 1), MAX_WAIT_MS);
}

/** Why work is given up. */
export function givenUp({ failures }: AttemptCount, last: string): string {
  return `failed ${failures} times in a row without getting further; the last time: ${last}`;
}
