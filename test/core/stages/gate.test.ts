import assert from "node:assert/strict";
import { test } from "node:test";
import { compare, type Figure } from "../../../core/stages/figures.js";
import { failureWords, judgeRule, ruleWords } from "../../../core/stages/gate.js";
import type { Rule } from "../../../core/stages/metrics.js";

const rule = (bounds: Partial<Rule>): Rule => ({ metric: "accuracy", against: "base", confident: false, ...bounds });

/** A figure of so many items, each with these values of base, tuned and live. */
function figure(values: readonly (readonly [base: number, tuned: number, live?: number])[], kind: "mean" | "exp" = "mean"): Figure {
  const items = values.map(([base, tuned, live]) => ({ weight: 1, base, tuned, ...(live !== undefined && { live }) }));
  return compare({ metric: "accuracy", better: "higher", kind, items });
}

const passes = (bounds: Partial<Rule>, ...figures: readonly Figure[]): boolean => judgeRule(rule(bounds), figures).passed;

test("a rule compares the quotient with its bounds, whose ends are within", () => {
  const half = figure([
    [1, 1],
    [1, 0],
  ]);
  assert.deepEqual(
    [{ atLeast: 0.5 }, { atLeast: 0.51 }, { atMost: 0.5 }, { atMost: 0.49 }, { atLeast: 0.4, atMost: 0.6 }].map((bounds) =>
      passes(bounds, half),
    ),
    [true, false, true, false, true],
  );
  assert.equal(judgeRule(rule({ atMost: 1 }), [half]).ratio, 0.5);
});

test("a rule against the live model reads that model's quotient", () => {
  const better = figure([
    [0, 1, 1],
    [1, 1, 0],
  ]);
  assert.deepEqual(
    [judgeRule(rule({ atMost: 9, against: "live" }), [better]).ratio, judgeRule(rule({ atMost: 9 }), [better]).ratio],
    [2, 2],
  );
  // one that the live model was not measured on does not pass for measured
  const without = figure([[1, 1]]);
  assert.deepEqual(judgeRule(rule({ atMost: 9, against: "live" }), [without]), {
    ...rule({ atMost: 9, against: "live" }),
    items: 1,
    ratio: null,
    interval: null,
    judged: true,
    passed: false,
  });
});

test("a confident rule wants the whole interval within the bounds, so that few items fail it where the quotient alone would pass", () => {
  const values = Array.from({ length: 40 }, (_, item): [number, number] => [item % 2, item % 3 === 0 ? 1 : item % 2]);
  const shaky = figure(values);
  const { interval, ratio } = judgeRule(rule({ atLeast: 1.2, confident: true }), [shaky]);
  assert.ok(ratio! > 1.2 && interval![0]! < 1.2);
  assert.deepEqual([passes({ atLeast: 1.2 }, shaky), passes({ atLeast: 1.2, confident: true }, shaky)], [true, false]);
  assert.equal(passes({ atLeast: 1, confident: true }, shaky), true);
  // one item has no interval
  assert.deepEqual([passes({ atLeast: 1 }, figure([[1, 1]])), passes({ atLeast: 1, confident: true }, figure([[1, 1]]))], [true, false]);
});

test("what was not measured and what is not finite fails; more than nothing is enough", () => {
  assert.deepEqual(judgeRule(rule({ atMost: 1 }), []), {
    ...rule({ atMost: 1 }),
    items: 0,
    ratio: null,
    interval: null,
    judged: true,
    passed: false,
  });
  assert.match(ruleWords(judgeRule(rule({ atMost: 1 }), [figure([])])), /^accuracy not measured, because no item has it \(at most 1 times/);
  assert.equal(passes({ atMost: 1 }, figure([])), false);
  const infinite = figure([[1, Infinity]]);
  assert.deepEqual([passes({ atMost: 1e300 }, infinite), passes({ atLeast: 0 }, infinite)], [false, false]);
  const fromNothing = figure([
    [0, 1],
    [0, 0],
  ]);
  assert.deepEqual([passes({ atLeast: 1 }, fromNothing), passes({ atMost: 100 }, fromNothing)], [true, false]);
  // neither model has any
  assert.deepEqual([passes({ atLeast: 1 }, figure([[0, 0]])), passes({ atMost: 1 }, figure([[0, 0]]))], [true, true]);
});

test("the words of a gate name each part that was not passed, with what came and what was asked", () => {
  const half = figure([
    [1, 1],
    [1, 0],
  ]);
  const failed = judgeRule(rule({ atLeast: 0.9, confident: true }), [half]);
  assert.match(ruleWords(failed), /^accuracy 0\.5000 \(0\.0000 to 1\.0000\) times the base model's, whole interval at least 0\.9$/);
  const gate = {
    judged: true,
    passed: false,
    ratio: 1.5,
    maxPerplexityRatio: 1,
    rules: [failed],
    tasks: { other: { judged: true, passed: false } },
  };
  assert.match(failureWords(gate, 9)!, /^perplexity 1\.5000 times the base model's, at most 1; accuracy 0\.5000 .*; other not passed$/);
  assert.match(failureWords({ ...gate, ratio: 0.5 }, 9)!, /^accuracy /);
  assert.match(failureWords({ ...gate, ratio: null }, 9)!, /^perplexity not finite /);
  assert.match(failureWords({ ...gate, ratio: null }, 0)!, /^accuracy /);
  assert.equal(failureWords({ ...gate, passed: true }, 9), null);
});
