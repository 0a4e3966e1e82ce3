import assert from "node:assert/strict";
import { test } from "node:test";
import { tableMean, taskWords } from "../../../activities/report/task-words.js";
import { BUILT_IN } from "../../../core/benchmark/built-in.js";
import { compare, type Figure } from "../../../core/stages/figures.js";

/** A figure of ten items, of which the models have so many right. */
const figure = (metric: string, base: number, tuned: number): Figure =>
  compare({
    metric,
    better: "higher",
    kind: "mean",
    items: Array.from({ length: 10 }, (_, index) => ({ weight: 1, base: Number(index < base), tuned: Number(index < tuned) })),
  });

test("a multiple-choice task is told by its shares of right answers, their intervals and the place of its items", () => {
  const report = { items: 10, acc: { base: 0.3, tuned: 0.5 }, data: { source: "hf://org/quiz@c0?split=test", sha256: "ab" } };
  const figures = [figure("quiz.acc", 3, 5)];
  assert.match(
    taskWords("quiz", report, { figures }),
    /^acc 0\.3000 \(0\.[01]\d{3} to 0\.[56]\d{3}\) before, 0\.5000 \(\S+ to \S+\) after; 10 items of hf:\/\/org\/quiz@c0\?split=test$/,
  );
  assert.equal(taskWords("quiz", report, {}), "acc 0.3000 before, 0.5000 after; 10 items of hf://org/quiz@c0?split=test");
  assert.equal(taskWords("other", { base: 1 }, { figures }), '{"base":1}');
});

test("the seven tasks have a geometric mean when all of them were measured", () => {
  const figures = Object.values(BUILT_IN).map(({ name, metrics }, index) => figure(`${name}.${metrics.at(-1)!}`, 2, index === 0 ? 4 : 2));
  const mean = 0.2 * 2 ** (1 / 7);
  assert.deepEqual(tableMean({ figures }), [["geometric mean of the seven tasks", `0.2000 before, ${mean.toFixed(4)} after`]]);
  assert.deepEqual(tableMean({ figures: figures.slice(1) }), []);
});
