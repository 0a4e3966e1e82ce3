import assert from "node:assert/strict";
import { test } from "node:test";
import { linearAxis } from "../../../infra/plots/axis.js";
import { byStep, runningMean, thinned, type Point } from "../../../infra/plots/series.js";

test("thinning out keeps peaks, ends of the values and gaps, in order, and leaves short series alone", () => {
  const values = Array.from({ length: 10_000 }, (_, step) => (step >= 4000 && step < 4100 ? null : Math.sin(step / 50)));
  values[7777] = 99;
  values[123] = -99;
  const points = byStep(values);
  const thin = thinned(points, 400);
  assert.ok(thin.length <= 600, String(thin.length));
  assert.ok(thin.some(([x, y]) => x === 7778 && y === 99) && thin.some(([x, y]) => x === 124 && y === -99));
  assert.ok(thin.some(([, y]) => y === null));
  assert.deepEqual(
    thin.map(([x]) => x),
    thin.map(([x]) => x).sort((a, b) => a - b),
  );
  const short: Point[] = [[1, 2]];
  assert.equal(thinned(short, 400), short);
});

test("the running mean is that of the values around, those without a value left out", () => {
  assert.deepEqual(runningMean([1, 2, 3, 4, 5]), [2, 2.5, 3, 3.5, 4]);
  assert.deepEqual(runningMean([null, 4, null, 2, null]), [null, 3, null, 3, null]);
  assert.deepEqual(runningMean([]), []);
  assert.deepEqual(byStep([1, NaN, Infinity, null]), [
    [1, 1],
    [2, null],
    [3, null],
    [4, null],
  ]);
});

test("an axis has a length even for one value, and steps are whole numbers", () => {
  const one = linearAxis(1, 1, { exact: true, whole: true });
  assert.ok(one.at(1) > 0 && one.at(1) < 1);
  assert.deepEqual(one.ticks, [1]);
  assert.deepEqual(
    linearAxis(1, 3, { exact: true, whole: true }).ticks.filter((tick) => !Number.isInteger(tick)),
    [],
  );
  const tiny = linearAxis(0, 1e-5);
  assert.equal(tiny.text(tiny.ticks[1]!), "2e−6");
  const flat = linearAxis(5, 5);
  assert.ok(flat.domain[0] < 5 && flat.domain[1] > 5);
});
