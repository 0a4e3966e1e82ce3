import assert from "node:assert/strict";
import { test } from "node:test";
import { uniformAt } from "../../../core/rows/random.js";
import { LEVEL, type Ends } from "../../../core/stages/bootstrap.js";
import { compare, type Measured } from "../../../core/stages/figures.js";
import { intervalWords, verdictWords } from "../../../core/stages/words.js";

type Items = Measured["items"];

function intervalsOf(items: Items, kind: Measured["kind"] = "exp"): { base: Ends; tuned: Ends; ratio: Ends } | null {
  const { intervals } = compare({ metric: "perplexity", better: "lower", kind, items });
  if (intervals === undefined) return null;
  assert.equal(intervals.level, LEVEL);
  return { base: intervals.base as Ends, tuned: intervals.tuned as Ends, ratio: intervals.ratio.base as Ends };
}

/** `count` rows of different hardness; the tuned model loses `factor` times what the base does, give or take `noise` nats a label. */
function rowsOf(count: number, factor: number, noise: number): Items {
  return Array.from({ length: count }, (_, row) => {
    const labels = 5 + Math.floor(100 * uniformAt(1, 0, row));
    const base = labels * (0.5 + 3 * uniformAt(1, 1, row));
    return { weight: labels, base, tuned: base * factor + labels * noise * (uniformAt(1, 2, row) - 0.5) };
  });
}

test("the ratio's interval is narrow although rows differ, because both models are asked about the same rows", () => {
  const { base, tuned, ratio } = intervalsOf(rowsOf(64, 0.95, 0.05))!;
  assert.ok(ratio[1] < 1 && ratio[1] - ratio[0] < 0.03, String(ratio));
  assert.ok(base[1] - base[0] > 1 && tuned[1] > base[0], `${String(base)} ${String(tuned)}`);
  assert.equal(verdictWords(ratio), "better beyond chance");
});

test("the ends are those of the normal distribution where rows are many, alone or as groups", () => {
  for (const count of [1000, 5000]) {
    const rows = Array.from({ length: count }, (_, row) => ({ weight: 1, base: uniformAt(2, 3, row), tuned: 0 }));
    const mean = rows.reduce((sum, { base }) => sum + base, 0) / count;
    const expected = 1.96 * Math.sqrt(1 / 12 / count);
    const { base } = intervalsOf(rows)!;
    assert.ok(Math.abs(mean - Math.log(base[0]) - expected) < 0.1 * expected, `${count}: ${String(base)}`);
    assert.ok(Math.abs(Math.log(base[1]) - mean - expected) < 0.1 * expected, `${count}: ${String(base)}`);
  }
});

test("two models that do not differ have a ratio of 1, and a difference that rows do not agree on may be chance", () => {
  assert.deepEqual(intervalsOf(rowsOf(10, 1, 0))!.ratio, [1, 1]);
  const { ratio } = intervalsOf(rowsOf(10, 0.99, 2))!;
  assert.ok(ratio[0] < 1 && ratio[1] > 1, String(ratio));
  assert.equal(verdictWords(ratio), "may be chance");
  assert.equal(verdictWords([1.01, 1.2]), "worse beyond chance");
});

test("fewer than two rows with labels have no interval, and a row without labels changes nothing", () => {
  const [first, second] = rowsOf(2, 0.9, 0.1) as [Items[number], Items[number]];
  const empty = { weight: 0, base: 0, tuned: 0 };
  assert.equal(intervalsOf([]), null);
  assert.equal(intervalsOf([first, empty]), null);
  assert.deepEqual(intervalsOf([first, empty, second]), intervalsOf([first, second]));
});

test("shares are compared as means, and the live model beside the base on the same items", () => {
  const items = Array.from({ length: 400 }, (_, item) => ({
    weight: 1,
    base: Number(item % 2 === 0),
    tuned: Number(item % 4 !== 0),
    live: Number(item % 4 !== 0),
  }));
  const figure = compare({ metric: "piqa.acc", better: "higher", kind: "mean", items });
  assert.deepEqual([figure.base, figure.tuned, figure.live, figure.ratio], [0.5, 0.75, 0.75, { base: 1.5, live: 1 }]);
  const { ratio, live, tuned } = figure.intervals!;
  assert.deepEqual([ratio.live, live], [[1, 1], tuned]);
  assert.ok(ratio.base[0]! > 1.25 && ratio.base[1]! < 1.85, String(ratio.base));
  // the normal distribution's
  assert.ok(Math.abs(tuned[0]! - (0.75 - 1.96 * Math.sqrt((0.75 * 0.25) / 400))) < 0.004, String(tuned));
});

test("what is not finite is null, and two figures of 0 have a ratio of 1", () => {
  const of = (base: number, tuned: number): Measured => ({
    metric: "rougeL",
    better: "higher",
    kind: "mean",
    items: [
      { weight: 1, base, tuned },
      { weight: 1, base, tuned },
    ],
  });
  assert.deepEqual(compare(of(0, 0)).ratio, { base: 1 });
  assert.deepEqual(compare(of(0, 1)).ratio, { base: null });
  assert.deepEqual(compare(of(0, 1)).intervals!.ratio.base, [null, null]);
  assert.deepEqual(compare({ ...of(0, 0), items: [] }).base, null);
  assert.throws(() => compare(of(0, Number.NaN)), /not a number \[metric=rougeL, item=0\]/);
});

test("an interval is said in four digits", () => {
  assert.equal(intervalWords([4.8713, 5.49271]), "95 % interval 4.871 to 5.493");
});
