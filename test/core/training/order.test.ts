import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRunConfig } from "../../../core/config/schema.js";
import { rowsOfStep, trainingPlan } from "../../../core/training/order.js";
import { permutation } from "../../../core/rows/random.js";
import { splitRows } from "../../../core/rows/split.js";

const defaults = parseRunConfig(undefined).train;
const small = { ...defaults, shards: 3, microBatch: 2, accumulation: 2 };

test("Dolly's run has 797 steps in an epoch", () => {
  assert.deepEqual(trainingPlan(50_974, defaults), { stepsPerEpoch: 797, totalSteps: 797 });
  assert.equal(trainingPlan(50_974, { ...defaults, epochs: 10 }).totalSteps, 7970);
  assert.equal(trainingPlan(50_974, { ...defaults, epochs: 10, maxSteps: 5 }).totalSteps, 5);
});

test("every epoch takes every row once, in its own order", () => {
  const rows = 31;
  const { stepsPerEpoch } = trainingPlan(rows, small);
  assert.equal(stepsPerEpoch, 3);
  const epochs = [0, 1].map((epoch) =>
    Array.from({ length: stepsPerEpoch }, (_, step) => rowsOfStep(rows, small, epoch * stepsPerEpoch + step)).flat(2),
  );
  for (const epoch of epochs)
    assert.deepEqual(
      epoch.toSorted((a, b) => a - b),
      [...Array(rows).keys()],
    );
  assert.notDeepEqual(epochs[0], epochs[1]);
});

test("a step's rows come by micro-batch; an epoch's last step has fewer rows and micro-batches", () => {
  const sizes = (step: number): number[] => rowsOfStep(31, small, step).map((rows) => rows.length);
  assert.deepEqual(sizes(0), [6, 6]);
  assert.deepEqual(sizes(2), [6, 1]);
  assert.deepEqual(rowsOfStep(1, small, 0), [[0]]);
});

test("a step's rows do not depend on the steps asked for before", () => {
  const late = rowsOfStep(1000, small, 700);
  rowsOfStep(1000, small, 3);
  assert.deepEqual(rowsOfStep(1000, small, 700), late);
});

test("the order of rows is pinned: a change would change every training run's digest", () => {
  assert.deepEqual([...permutation(10, 42, 1)], [0, 2, 8, 5, 3, 7, 1, 6, 9, 4]);
  assert.deepEqual([...permutation(5, 2 ** 52 + 1, 0)], [0, 2, 1, 3, 4]);
});

test("a permutation holds every index and follows its seed, high bits too, and its stream", () => {
  const sorted = permutation(5000, 7, 3).toSorted();
  assert.ok(sorted.every((row, index) => row === index));
  assert.notDeepEqual(permutation(100, 1, 0), permutation(100, 1 + 2 ** 40, 0));
  assert.notDeepEqual(permutation(100, 1, 0), permutation(100, 1, 1));
});

test("a permutation is uniform: over many seeds each row comes first about equally often", () => {
  const first = new Array<number>(8).fill(0);
  for (let seed = 0; seed < 8000; seed++) first[permutation(8, seed, 0)[0]!]!++;
  for (const count of first) assert.ok(Math.abs(count - 1000) < 150, `${first}`);
});

test("the split marks as many test rows as asked for, the same for the same seed", () => {
  const isTest = splitRows(100, 10, 42);
  assert.equal(
    isTest.reduce((sum, mark) => sum + mark, 0),
    10,
  );
  assert.deepEqual(splitRows(100, 10, 42), isTest);
  assert.notDeepEqual(splitRows(100, 10, 43), isTest);
  assert.equal(
    splitRows(100, 0, 42).every((mark) => mark === 0),
    true,
  );
});
