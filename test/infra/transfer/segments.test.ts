import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesDone, bytesInOrder, journalLine, planSegments, reach, takeRun } from "../../../infra/transfer/segments.js";

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

test("GPT-J's 24 GB take 361 requests at most", () => {
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

test("what one request brings is noted in each of its segments", () => {
  const segments = planSegments(40 * MIB, `0 100\n`, false);
  const gained = (upTo: number): number[] => reach(segments, upTo).map(({ index }) => index);
  assert.deepEqual([gained(100), gained(101), gained(33 * MIB), gained(33 * MIB)], [[], [0], [0, 1, 2], []]);
  assert.deepEqual(
    segments.map(({ done }) => done),
    [16 * MIB, 16 * MIB, MIB],
  );
});

test("one request brings segments that follow each other, up to the first of which something is there", () => {
  const waiting = planSegments(16 * 9 * MIB, `0 5\n5 7\n`, false).filter(({ index }) => index !== 7);
  const taken = (atMost: number): number[] => takeRun(waiting, atMost).map(({ index }) => index);
  assert.deepEqual([taken(2), taken(8), taken(1), taken(8), taken(8), taken(8)], [[0, 1], [2, 3, 4], [5], [6], [8], []]);
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
