import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesDone, journalLine, planSegments } from "../../../infra/hub/segments.js";

const MIB = 2 ** 20;

test("a file is cut into segments of 64 MiB, the last one smaller", () => {
  const segments = planSegments(130 * MIB, "");
  assert.deepEqual(
    segments.map(({ start, end, done }) => [start / MIB, end / MIB, done]),
    [
      [0, 64, 0],
      [64, 128, 0],
      [128, 130, 0],
    ],
  );
  assert.deepEqual(planSegments(0, ""), []);
});

test("GPT-J's 24 GB take 361 requests", () => {
  assert.equal(planSegments(24_207_819_307, "").length, 361);
});

test("a journal's last word about a segment counts; torn and impossible lines do not", () => {
  const segments = planSegments(130 * MIB, `0 100\n1 5\n0 200\n7 1\n2 ${3 * MIB}\nnonsense\n1 67`);
  assert.deepEqual(
    segments.map(({ done }) => done),
    [200, 5, 0],
  );
  assert.equal(bytesDone(segments), 205);
  assert.equal(journalLine(segments[0]!), "0 200\n");
});
