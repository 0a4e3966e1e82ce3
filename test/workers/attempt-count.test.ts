import assert from "node:assert/strict";
import { test } from "node:test";
import { beginAttempt, failAttempt, givenUp, reach, stopAttempt, waitBefore, type AttemptCount } from "../../workers/attempt-count.js";

type End = (count: AttemptCount) => AttemptCount;
/** A process that is killed says nothing more. */
const die: End = (count) => count;
const fail: End = (count) => failAttempt(count, "out of luck");
const stop: End = stopAttempt;

/** The failures that attempts have behind them when they begin, one after the other. */
function failuresOf(...ends: readonly End[]): number[] {
  let before: AttemptCount | undefined;
  return ends.map((end, index) => {
    const count = beginAttempt(before, index + 1);
    before = end(count);
    return count.failures;
  });
}

const last: End = die;

test("failures and deaths count, stops do not", () => {
  assert.deepEqual(failuresOf(fail, die, stop, stop, fail, last), [0, 1, 2, 2, 2, 3]);
  assert.deepEqual(failuresOf(...Array<End>(30).fill(stop), fail, last).slice(-2), [0, 1]);
});

test("work that gets further than ever has no failures behind it; work that gets as far as before has", () => {
  const upTo =
    (done: number, end: End): End =>
    (count) =>
      end(reach(count, done));
  assert.deepEqual(failuresOf(upTo(3, die), upTo(3, fail), upTo(4, fail), upTo(2, fail), upTo(4, fail), last), [0, 1, 2, 1, 2, 3]);
});

test("a death is known by the word that is missing, and a lost word is one failure at most", () => {
  const begun = beginAttempt(undefined, 1);
  assert.equal(
    beginAttempt(begun, 2).last,
    "its worker ended without a word: it was killed, memory ran out, or it was not heard of for too long",
  );
  // the attempt after a stop was killed before its first word
  assert.equal(beginAttempt(stopAttempt(begun), 3).failures, 1);
  assert.equal(beginAttempt(undefined, 26).failures, 1);
  assert.equal(beginAttempt(failAttempt(begun, "x"), 1).failures, 0, "a user's reset begins anew");
});

test("each failure in a row doubles the wait", () => {
  const waits = Array.from({ length: 9 }, (_, failures) => waitBefore({ ...beginAttempt(undefined, 1), failures }, 500));
  assert.deepEqual(waits, [0, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
});

test("a failure's words that travel along are short, and say how many there were", () => {
  const count = failAttempt(beginAttempt(undefined, 1), "x".repeat(10_000));
  assert.equal(count.last.length, 500);
  assert.equal(givenUp(count, "y"), "failed 1 times in a row without getting further; the last time: y");
});
