import assert from "node:assert/strict";
import { test } from "node:test";
import { NO_ATTEMPTS, nextMove, type AttemptEnd, type NextMove } from "../../../core/training/next-move.js";

/** The moves after attempts that begin from a checkpoint and end in some way, one after the other, as far as they go on. */
function moves(...ends: readonly (readonly [resumeStep: number, how: AttemptEnd["how"]])[]): (number | string)[] {
  let tally = NO_ATTEMPTS;
  return ends.map(([resumeStep, how]) => {
    const move: NextMove = nextMove(tally, { resumeStep, how });
    if (move.kind === "give up") return `give up after ${move.attempts}`;
    tally = move.tally;
    return move.waitSeconds;
  });
}

const times = (count: number, resumeStep: number, how: AttemptEnd["how"]) =>
  Array.from({ length: count }, () => [resumeStep, how] as const);

test("what the user must change ends a run at once, an error at the third time, a lost process at the twentieth", () => {
  assert.deepEqual(moves([0, "fatal"]), ["give up after 1"]);
  assert.deepEqual(moves(...times(3, 0, "error")), [0, 1, "give up after 3"]);
  const lost = moves(...times(20, 0, "lost"));
  assert.deepEqual(lost.slice(0, 8), [0, 1, 2, 4, 8, 16, 30, 30]);
  assert.deepEqual(lost.slice(-2), [30, "give up after 20"]);
});

test("errors and losses are counted apart, and waited for together", () => {
  assert.deepEqual(moves([0, "error"], [0, "lost"], [0, "error"], [0, "lost"], [0, "error"]), [0, 1, 2, 4, "give up after 3"]);
});

test("an attempt that begins from a new checkpoint starts the counts anew; one from an older one does not", () => {
  assert.deepEqual(moves(...times(2, 0, "error"), ...times(2, 5, "error"), [3, "error"]), [0, 1, 0, 1, "give up after 3"]);
});

test("a planned end is gone on from at once and counts as nothing", () => {
  assert.deepEqual(moves([0, "error"], [0, "planned"], [0, "error"], [0, "planned"], [0, "error"]), [0, 0, 1, 0, "give up after 3"]);
  assert.deepEqual(moves(...times(2, 0, "error"), [5, "planned"], [5, "error"]), [0, 1, 0, 0]);
});

test("what was asked for is gone on from at once and counts as nothing, however often", () => {
  assert.deepEqual(moves([0, "lost"], ...times(30, 0, "asked"), [0, "lost"]), [0, ...Array<number>(30).fill(0), 1]);
});
