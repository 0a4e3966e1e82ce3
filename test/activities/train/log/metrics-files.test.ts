import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { committedLines } from "../../../../activities/train/log/committed-lines.js";
import type { LogEntry } from "../../../../activities/train/log/entries.js";
import { bringMetrics, EVENTS, hasMetrics, METRICS, MetricsFiles } from "../../../../activities/train/log/metrics-files.js";
import { parseRunConfig } from "../../../../core/config/schema.js";
import { fileHead, restart, scalars, shownSteps, wholeRecords } from "../../../../core/format/event-file.js";
import type { MetricsLine } from "../../../../core/training/metrics-line.js";

const line = (step: number, generation: number, loss = 5 - step): MetricsLine => ({
  step,
  loss,
  gradientNorm: 1,
  learningRate: 0.5,
  tokensPerSecond: 100,
  seconds: 0.1,
  epoch: step / 10,
  generation,
  time: step,
});
const eventOf = ({ time, step, loss }: MetricsLine): Uint8Array =>
  scalars(time, step, { "train/loss": loss!, "train/gradient_norm": 1, "train/learning_rate": 0.5, "train/tokens_per_second": 100 });
const HEAD = fileHead(0).length;
const START = restart(0, 1).length;

const stepsIn = (directory: string): number[] =>
  readFileSync(join(directory, METRICS), "utf8")
    .trimEnd()
    .split("\n")
    .map((text) => (JSON.parse(text) as MetricsLine).step);

test("an attempt that goes on from a checkpoint drops the steps beyond it, and TensorBoard's file only grows", async () => {
  const directory = mkdtempSync(join(tmpdir(), "roslin-metrics-"));
  const events = (): Buffer => readFileSync(join(directory, EVENTS));
  await bringMetrics(directory, []);
  const first = new MetricsFiles(directory);
  for (const step of [1, 2, 3]) first.add(line(step, 1));
  first.close();
  const before = events();
  assert.equal(before.length, HEAD + 3 * eventOf(line(1, 1)).length);
  // killed while it wrote
  appendFileSync(join(directory, EVENTS), eventOf(line(4, 1)).subarray(0, 20));
  appendFileSync(join(directory, METRICS), '{"step":4,"lo');

  const kept = [line(1, 1), line(2, 1)];
  await bringMetrics(directory, kept);
  assert.deepEqual(stepsIn(directory), [1, 2]);
  assert.ok(await hasMetrics(directory, kept));
  assert.deepEqual(events().subarray(0, before.length), before);
  assert.equal(events().length, before.length + START, "readers forget step 3");
  const second = new MetricsFiles(directory);
  second.add(line(3, 9));
  second.close();
  assert.equal(wholeRecords(events()), events().length);
  assert.ok(!(await hasMetrics(directory, kept)));
  assert.ok(await hasMetrics(directory, [...kept, line(3, 9)]));
});

test("what was trained elsewhere is added, and a file that is gone is made anew", async () => {
  const directory = mkdtempSync(join(tmpdir(), "roslin-metrics-"));
  const all = [1, 2, 3, 4].map((step) => line(step, 1));
  await bringMetrics(directory, all.slice(0, 2));
  const before = readFileSync(join(directory, EVENTS)).length;
  await bringMetrics(directory, all);
  assert.deepEqual(stepsIn(directory), [1, 2, 3, 4]);
  assert.equal(readFileSync(join(directory, EVENTS)).length, before + START + 2 * eventOf(line(1, 1)).length);
  rmSync(join(directory, EVENTS));
  assert.ok(!(await hasMetrics(directory, all)));
  await bringMetrics(directory, all);
  assert.equal(readFileSync(join(directory, EVENTS)).length, HEAD + 4 * eventOf(line(1, 1)).length);
});

test("what an attempt that was overtaken adds to TensorBoard's file is found, and each step shows once again", async () => {
  const directory = mkdtempSync(join(tmpdir(), "roslin-metrics-"));
  const shown = (): number[] => shownSteps(readFileSync(join(directory, EVENTS)));
  await bringMetrics(directory, []);
  const older = new MetricsFiles(directory);
  for (const step of [1, 2]) older.add(line(step, 1));
  await bringMetrics(directory, [line(1, 1), line(2, 1)]);
  const newer = new MetricsFiles(directory);
  newer.add(line(3, 5));
  older.add(line(3, 1));
  newer.add(line(4, 5));
  for (const files of [older, newer]) files.close();
  const all = [line(1, 1), line(2, 1), line(3, 5), line(4, 5)];
  assert.deepEqual(
    [stepsIn(directory), shown()],
    [
      [1, 2, 3, 4],
      [1, 2, 3, 3, 4],
    ],
  );
  assert.ok(!(await hasMetrics(directory, all)));
  await bringMetrics(directory, all);
  assert.deepEqual(shown(), [1, 2, 3, 4]);
  assert.ok(await hasMetrics(directory, all));
});

test("lines are made of the commit log: a lost commit leaves a gap, and the times are those of the records of steps", () => {
  const record = { loss: 2, norm: 1, seconds: 0.5, spent: {}, tokens: 50, labels: 20, rows: 4 };
  const about = { kind: "checkpoint", updates: 0, reason: "interval", fingerprint: {}, shards: [], nonce: "" } as const;
  const entries: LogEntry[] = [
    { kind: "lost", reason: "it is gone" },
    { ...about, generation: 1, step: 4, parent: 1, steps: [record, { ...record, loss: 0, labels: 0 }], time: "2026-11-01T00:00:00.000Z" },
    {
      ...about,
      generation: 3,
      step: 5,
      parent: 2,
      steps: [{ ...record, evaluation: { loss: null, labels: 3, seconds: 9 } }],
      time: "2026-11-02T00:00:00.000Z",
    },
  ];
  const { train } = parseRunConfig({ train: { learningRate: 0.25, warmupSteps: 8 } });
  const run = { train, totalSteps: 10, stepsPerEpoch: 5 };
  const attempts = [{ generation: 1, fingerprint: {}, lines: [{ step: 3, loss: 2, norm: 1, seconds: 0.5, time: 1500 }] }];
  const common = { gradientNorm: 1, tokensPerSecond: 100, seconds: 0.5 };
  assert.deepEqual(committedLines(run, { entries }, 3, attempts), [
    { ...common, step: 3, loss: 2, learningRate: 0.0625, epoch: 0.6, generation: 1, time: 1.5 },
    {
      ...common,
      step: 4,
      loss: null,
      gradientNorm: null,
      learningRate: 0.09375,
      epoch: 0.8,
      generation: 1,
      time: Date.UTC(2026, 10, 1) / 1000,
    },
    { ...common, step: 5, loss: 2, learningRate: 0.125, evalLoss: null, epoch: 1, generation: 3, time: Date.UTC(2026, 10, 2) / 1000 },
  ]);
  assert.deepEqual(committedLines(run, { entries }, null, attempts), []);
});
