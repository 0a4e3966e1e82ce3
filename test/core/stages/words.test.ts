import assert from "node:assert/strict";
import { test } from "node:test";
import { metricWords, warningsOf, type Figures } from "../../../core/stages/words.js";
import type { StageResult } from "../../../core/stages/results.js";
import { essentials } from "../../../workers/essentials.js";

/** As the workflow gets them. */
const told = (metrics: Figures): string =>
  metricWords(essentials({ stage: "train", reused: false, outputs: [], metrics } as unknown as StageResult).metrics);

test("what became of the rows is told in whole, the lengths too", () => {
  const metrics = {
    seconds: 6.5,
    rowsPerSecond: 7958.4,
    cutAt: 1024,
    rows: 52_002,
    trainRows: 50_970,
    testRows: 1000,
    dropped: 28,
    rejected: 4,
    truncated: 1,
    duplicates: 30,
    tokens: 11_234_567,
    lossShare: 0.7412,
    lengths: { 64: 412, 128: 20_001, 1024: 31_557 },
  };
  assert.equal(
    told(metrics),
    "52,002 rows, 50,970 to train on, 1,000 held out, 28 dropped for an empty response, 4 rejected, 1 truncated at 1,024 tokens, 30 duplicates, 11,234,567 tokens, 74.1 % of them with loss, rows by tokens: up to 64: 412, 128: 20,001, 1,024: 31,557, 7,958 rows/s",
  );
});

test("a download tells what was chosen of a dataset, and which files these are", () => {
  const metrics = {
    seconds: 1,
    bytes: 12,
    datasetChoice: "configuration en of de, en, split train of train, test",
    datasetFiles: "en/train/0000.parquet",
  };
  assert.equal(told(metrics), "12 B, configuration en of de, en, split train of train, test, rows of en/train/0000.parquet");
});

test("training and evaluation tell their ends, whatever the numbers", () => {
  const losses = Array.from({ length: 40 }, (_, step) => 4 - step / 20);
  assert.equal(
    told({ seconds: 1, goodput: 0.75, proof: "no failure", steps: 40, losses, tokensPerSecond: 415, rowsPerSecond: 2.066 }),
    "75.0 % of the time useful, no failure, 40 steps, loss 4.000 to 2.050, 415 tokens/s, 2.07 rows/s",
  );
  const gate = { judged: true, passed: false, ratio: Number.POSITIVE_INFINITY, maxPerplexityRatio: 1 };
  assert.equal(
    told({
      seconds: 1,
      perplexity: { base: 12_345.6, tuned: Number.POSITIVE_INFINITY },
      gate,
      samples: 1,
      heldOut: { rows: 1, labels: 9 },
    }),
    "perplexity 12,346 before, ∞ after on 1 held-out row, gate failed, 1 answer to read",
  );
  assert.equal(told({ seconds: 1, perplexity: { base: null, tuned: null } }), "perplexity not measured");
});

test("sizes have their units, and what is not there is not told", () => {
  assert.equal(
    told({ seconds: 1, bytes: 24.2e9, bytesFetched: 0, modelFrom: "hf://a/b@c" }),
    "24.2 GB, 0 B of it fetched, model from hf://a/b@c",
  );
  assert.equal(
    told({ seconds: 1, target: "s3://b/p", version: "m-1", latest: true, objects: 9, bytes: 1.5e6, bytesSent: 1e3 }),
    "to s3://b/p, as m-1, latest.json names it, 9 objects, 1.5 MB, 1.0 kB of it sent",
  );
  assert.equal(told({ seconds: 1 }), "");
});

test("first and last loss are of steps that have one, however many steps there are", () => {
  for (const filler of [1, 40]) {
    const losses = [null, 4, ...Array<number>(filler).fill(3), 2.05, null];
    assert.equal(told({ seconds: 1, losses }), "loss 4.000 to 2.050");
    assert.equal(told({ seconds: 1, losses: losses.map(() => null) }), "no step has labels");
  }
});

test("rows held out beyond those trained on, and columns that are not used, are warnings", () => {
  const figures = { trainRows: 40, testRows: 60, usedColumns: "question, answer", unusedColumns: "id, model" };
  assert.deepEqual(warningsOf(figures), [
    "WARNING: MORE ROWS ARE HELD OUT (60) THAN TRAINED ON (40): lower preprocess.testRows",
    "columns with content that are not used: id, model",
  ]);
  assert.deepEqual(warningsOf({ trainRows: 60, testRows: 60, usedColumns: "question, answer" }), []);
});
