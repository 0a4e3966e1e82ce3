import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { perplexity } from "../../../activities/evaluate/perplexity.js";
import { evaluate } from "../../../activities/evaluate/evaluate.js";
import { DOLLY_INSTRUCTIONS } from "../../../activities/evaluate/samples.js";
import { promptOf } from "../../../core/text/prompt.js";
import type { Figure } from "../../../core/stages/figures.js";
import { outputNamed } from "../../../core/stages/results.js";
import { madeDependencies, madeRequest, madeRows } from "./made-models.js";

const root = mkdtempSync(join(tmpdir(), "roslin-evaluation-file-"));
after(() => rmSync(root, { recursive: true }));

const FIGURES = {
  perplexity: { base: 2.1769111682210207, tuned: 1.3880598444375647 },
  gate: { judged: true, passed: true, ratio: 0.6376281516217733, maxPerplexityRatio: 1 },
  heldOut: { rows: 20, labels: 430 },
};
const INTERVALS = {
  base: [2.117000016612675, 2.272296096034973],
  tuned: [1.3498588075760032, 1.4488799596521513],
  // the tuned model loses as much less on every row
  ratio: { base: [0.6376281516217732, 0.6376281516217734] },
  level: 0.95,
  resamples: 10_000,
  seed: 42,
};
const REPEATED = "again and ".repeat(20).slice(0, 128).trim();

test("evaluation.json of a small run is this text, and the metrics are its figures", async () => {
  const request = await madeRequest(root, { generateSamples: 2 });
  const result = await evaluate(madeDependencies(madeRows(20)), request, {
    signal: new AbortController().signal,
    progress: () => undefined,
  });
  const first = { instruction: "Say 0 in a word.", input: "The number is 0." };
  const second = { instruction: "Say 10 in a word." };
  const samples = [
    { row: 1, prompt: promptOf(first), ...first, expected: "one", base: REPEATED, tuned: "a <word>" },
    { row: 31, prompt: promptOf(second), ...second, expected: "one two three", base: REPEATED, tuned: "a <word>" },
    ...DOLLY_INSTRUCTIONS.map((instruction) => ({
      kind: "dolly",
      prompt: promptOf({ instruction }),
      instruction,
      base: REPEATED,
      tuned: "a <word>",
    })),
  ];
  const text = readFileSync(fileURLToPath(outputNamed(result.outputs, "report").uri), "utf8");
  const { figures } = JSON.parse(text) as { readonly figures: readonly Figure[] };
  assert.equal(text, `${JSON.stringify({ ...FIGURES, figures, samples }, null, 2)}\n`);
  assert.deepEqual(figures[0], {
    metric: "perplexity",
    better: "lower",
    items: 20,
    ...FIGURES.perplexity,
    ratio: { base: 0.6376281516217734 },
    intervals: INTERVALS,
  });
  const { seconds, ...metrics } = result.metrics;
  assert.equal(typeof seconds, "number");
  assert.deepEqual(metrics, { ...FIGURES, samples: 7 });
});

test("perplexity is measured by length and by whether a request has an input, and the parts weigh the whole", async () => {
  const rows = madeRows(20);
  const request = await madeRequest(join(root, "parts"), {});
  const result = await evaluate(madeDependencies(rows), request, { signal: new AbortController().signal, progress: () => undefined });
  const text = readFileSync(fileURLToPath(outputNamed(result.outputs, "report").uri), "utf8");
  const { figures } = JSON.parse(text) as { readonly figures: readonly Figure[] };
  const itemsOf = Object.fromEntries(figures.map(({ metric, items }) => [metric, items]));
  // every third row has an input
  assert.deepEqual([itemsOf["perplexity.withInput"], itemsOf["perplexity.withoutInput"]], [7, 13]);
  const lengths = rows.map(({ inputIds }) => inputIds.length);
  const between = (low: number, high: number): number => lengths.filter((length) => length > low && length <= high).length;
  const byLength = Object.entries(itemsOf).filter(([metric]) => metric.startsWith("perplexity.upTo"));
  assert.deepEqual(
    byLength,
    [
      ["perplexity.upTo256", between(128, 256)],
      ["perplexity.upTo512", between(256, 512)],
    ].filter(([, items]) => Number(items) > 0),
  );
  // losses are sums: those of the two kinds come to the whole
  const nats = (metric: string, rowsOfIt: typeof rows): number => {
    const labels = rowsOfIt.reduce((sum, row) => sum + row.labels.filter((label) => label >= 0).length, 0);
    return Math.log(figures.find((figure) => figure.metric === metric)!.tuned!) * labels;
  };
  const withInput = rows.filter((_, row) => row % 3 === 0);
  const withoutInput = rows.filter((_, row) => row % 3 !== 0);
  const parts = nats("perplexity.withInput", withInput) + nats("perplexity.withoutInput", withoutInput);
  assert.ok(Math.abs(parts - nats("perplexity", rows)) < 1e-6);
  const known = perplexity.metrics!(request.config);
  for (const { metric } of figures) assert.ok(known.includes(metric), metric);
});
