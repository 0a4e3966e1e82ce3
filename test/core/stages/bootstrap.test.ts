import assert from "node:assert/strict";
import { test } from "node:test";
import { uniformAt } from "../../../core/rows/random.js";
import { pairedBootstrap, type PairedLoss } from "../../../core/stages/bootstrap.js";
import { intervalWords, verdictWords } from "../../../core/stages/words.js";

/** `count` rows of different hardness; the tuned model loses `factor` times what the base does, give or take `noise` nats a label. */
function rowsOf(count: number, factor: number, noise: number): PairedLoss[] {
  return Array.from({ length: count }, (_, row) => {
    const labels = 5 + Math.floor(100 * uniformAt(1, 0, row));
    const base = labels * (0.5 + 3 * uniformAt(1, 1, row));
    return { labels, base, tuned: base * factor + labels * noise * (uniformAt(1, 2, row) - 0.5) };
  });
}

test("the ratio's interval is narrow although rows differ, because both models are asked about the same rows", () => {
  const { base, tuned, ratio } = pairedBootstrap(rowsOf(64, 0.95, 0.05))!;
  assert.ok(ratio[1] < 1 && ratio[1] - ratio[0] < 0.03, String(ratio));
  assert.ok(base[1] - base[0] > 1 && tuned[1] > base[0], `${String(base)} ${String(tuned)}`);
  assert.equal(verdictWords(ratio), "better beyond chance");
});

test("the ends are those of the normal distribution where rows are many, alone or as groups", () => {
  for (const count of [1000, 5000]) {
    const rows = Array.from({ length: count }, (_, row) => ({ labels: 1, base: uniformAt(2, 3, row), tuned: 0 }));
    const mean = rows.reduce((sum, { base }) => sum + base, 0) / count;
    const expected = 1.96 * Math.sqrt(1 / 12 / count);
    const { base } = pairedBootstrap(rows)!;
    assert.ok(Math.abs(mean - Math.log(base[0]) - expected) < 0.1 * expected, `${count}: ${String(base)}`);
    assert.ok(Math.abs(Math.log(base[1]) - mean - expected) < 0.1 * expected, `${count}: ${String(base)}`);
  }
});

test("two models that do not differ have a ratio of 1, and a difference that rows do not agree on may be chance", () => {
  assert.deepEqual(pairedBootstrap(rowsOf(10, 1, 0))!.ratio, [1, 1]);
  const { ratio } = pairedBootstrap(rowsOf(10, 0.99, 2))!;
  assert.ok(ratio[0] < 1 && ratio[1] > 1, String(ratio));
  assert.equal(verdictWords(ratio), "may be chance");
  assert.equal(verdictWords([1.01, 1.2]), "worse beyond chance");
});

test("fewer than two rows with labels have no interval, and a row without labels changes nothing", () => {
  const [first, second] = rowsOf(2, 0.9, 0.1) as [PairedLoss, PairedLoss];
  const empty = { labels: 0, base: 0, tuned: 0 };
  assert.equal(pairedBootstrap([]), null);
  assert.equal(pairedBootstrap([first, empty]), null);
  assert.deepEqual(pairedBootstrap([first, empty, second]), pairedBootstrap([first, second]));
});

test("an interval is said in four digits", () => {
  assert.equal(intervalWords([4.8713, 5.49271]), "95 % interval 4.871 to 5.493");
});
