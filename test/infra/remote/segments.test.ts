import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesDone, bytesInOrder, journalLine, planSegments } from "../../../infra/remote/segments.js";

const MIB = 2 ** 20;

test("a file is cut into segments of 16 MiB, the last one smaller", () => {
  const segments = planSegments(34 * MIB, "", false);
  assert.deepEqual(
    segments.map(({ start, end, done }) => [start / MIB, end / MIB, done]),
    [
      [0, 16, 0],
      [16, 32, 0],
      [32, 34, 0],
    ],
  );
  assert.deepEqual(planSegments(0, "", false), []);
});

test("GPT-J's 24 GB take 361 requests", () => {
  assert.equal(planSegments(24_207_819_307, "", false).length, 361);
});

test("a journal's last word about a segment counts; torn and impossible lines do not", () => {
  const segments = planSegments(34 * MIB, `0 100\n1 5\n0 200\n7 1\n2 ${3 * MIB}\nnonsense\n1 67`, false);
  assert.deepEqual(
    segments.map(({ done }) => done),
    [200, 5, 0],
  );
  assert.equal(bytesDone(segments), 205);
  assert.equal(journalLine(segments[0]!), "0 200\n");
});

test("after a restart of the machine only what was forced to disk counts", () => {
  const journal = `0 100\n1 5 synced\n0 50 synced\n0 200\n`;
  const done = (restarted: boolean): number[] => planSegments(34 * MIB, journal, restarted).map((segment) => segment.done);
  assert.deepEqual(done(false), [200, 5, 0]);
  assert.deepEqual(done(true), [50, 5, 0]);
  assert.equal(journalLine({ index: 3, done: 7 }, true), "3 7 synced\n");
});

test("what can be digested already ends at the first gap", () => {
  const [first, second, third] = planSegments(34 * MIB, "", false);
  const upTo = (): number => bytesInOrder([first!, second!, third!]);
  second!.done = 5;
  assert.equal(upTo(), 0);
  first!.done = 16 * MIB;
  assert.equal(upTo(), 16 * MIB + 5);
  second!.done = 16 * MIB;
  assert.equal(upTo(), 32 * MIB);
  third!.done = 2 * MIB;
  assert.equal(upTo(), 34 * MIB);
  assert.equal(bytesInOrder([]), 0);
});
