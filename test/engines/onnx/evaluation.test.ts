import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Stage } from "../../../activities/common/stage.js";
import { trainDefinition } from "../../../activities/train/definition.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import type { StageResult } from "../../../core/stages/results.js";
import type { MetricsLine } from "../../../core/training/metrics-line.js";
import { rowsOfStep } from "../../../core/training/order.js";
import { trainLocally } from "../../../workers/local-training.js";
import { childrenOf } from "../../workers/children.js";
import { job, madeRows, type Job } from "../../workers/tiny.js";
import { places } from "../places.js";

const RANK = join(import.meta.dirname, "../rank-child.js");
const TRAIN = { shards: 4, microBatch: 1, accumulation: 2, epochs: 4, learningRate: 1e-3, checkpointEverySteps: 2 };
const ROWS = madeRows(27);
/** the longest of all, and one without labels, are among them */
const TEST = [1, 4, 8, 12, 19, 26];
const STEPS = 12;

const make = (t: TestContext, settings: object = {}): Promise<Job> => job(t, ROWS, { ...TRAIN, ...settings }, "gptj-tiny", TEST);

async function train(t: TestContext, workers: number, settings: object = {}): Promise<StageResult<"train">> {
  const { request, context } = await make(t, settings);
  return await trainLocally(places, request, workers, context(), RANK);
}

const linesOf = ({ request }: Job): MetricsLine[] => {
  const { directory } = new Stage(trainDefinition, request);
  const text = readFileSync(join(directory, "metrics.jsonl"), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as MetricsLine);
};

test("the loss on the test rows has the same bits on any number of workers, and changes nothing that is trained", async (t) => {
  const without = await train(t, 2);
  assert.equal(without.metrics.evaluations, undefined);
  const [one, three] = [await train(t, 1, { evalEverySteps: 5 }), await train(t, 3, { evalEverySteps: 5 })];
  assert.deepEqual([one.stateDigest, three.stateDigest], [without.stateDigest, without.stateDigest]);
  const { evaluations, rates } = one.metrics;
  assert.deepEqual(
    evaluations!.map(({ step }) => step),
    [5, 10, STEPS],
  );
  assert.ok(evaluations!.every(({ loss }) => loss! > 0 && loss! < 10));
  assert.deepEqual(three.metrics.evaluations, evaluations);
  assert.equal(rates!.length, STEPS);
});

test("it is the mean over all labels of the test rows", async (t) => {
  // the same rows once more, and a step over all of them that changes nothing
  const rows = madeRows(8);
  const settings = { shards: 4, microBatch: 2, accumulation: 1, epochs: 1, learningRate: 0, evalEverySteps: 1 };
  const { request, context } = await job(
    t,
    [...rows, ...rows],
    settings,
    "gptj-tiny",
    Array.from(rows, (_, row) => 8 + row),
  );
  const { metrics } = await trainLocally(places, request, 2, context(), RANK);
  assert.ok(Math.abs(metrics.evaluations![0]!.loss! - metrics.losses![0]!) < 1e-6);
});

test("adapters are measured whole, without the dropout of a step", async (t) => {
  const settings = {
    method: "lora",
    lora: { rank: 4, dropout: 0.5 },
    epochs: 1,
    shards: 4,
    accumulation: 1,
    microBatch: 2,
    learningRate: 1e-2,
  };
  const rows = madeRows(9);
  const { train: made } = parseRunConfig({ train: settings });
  // the row of the second step has no labels, so that step changes no weight
  const [[second]] = rowsOfStep(rows.length, made, 1) as [[number]];
  rows[second]!.labels.fill(-100);
  const all = [...rows, ...madeRows(4, 100)];
  const { request, context } = await job(t, all, { ...settings, evalEverySteps: 1 }, "gptj-tiny", [9, 10, 11, 12]);
  const { metrics } = await trainLocally(places, request, 2, context(), RANK);
  assert.equal(metrics.losses![1], null);
  const [first, after] = metrics.evaluations!;
  assert.equal(after!.loss, first!.loss);
});

test("without test rows nothing is measured, and that is said", async (t) => {
  const { request, context, seen } = await job(t, ROWS, { ...TRAIN, epochs: 1, evalEverySteps: 1 });
  const { metrics } = await trainLocally(places, request, 1, context(), RANK);
  assert.equal(metrics.evaluations, undefined);
  assert.ok(seen.some(({ note }) => note?.includes("train.evalEverySteps measures nothing")));
});

test("a run that is killed has each step once in metrics.jsonl, with the losses of one that was not", async (t) => {
  const settings = { evalEverySteps: 1 };
  const calm = await make(t, settings);
  const expected = await trainLocally(places, calm.request, 1, calm.context(), RANK);
  for (let tries = 0; ; tries++) {
    assert.ok(tries < 5, "never seen under way");
    const made = await make(t, settings);
    const { directory } = new Stage(trainDefinition, made.request);
    const running = trainLocally(places, made.request, 3, made.context(), RANK);
    while (!existsSync(join(directory, "commits", "000002.json"))) await sleep(2);
    // the first is the coordinator
    const victim = childrenOf(process.pid)[0];
    if (victim !== undefined) process.kill(victim, "SIGKILL");
    const { stateDigest, metrics } = await running;
    assert.equal(stateDigest, expected.stateDigest);
    assert.deepEqual(metrics.evaluations, expected.metrics.evaluations);
    const lines = linesOf(made);
    assert.deepEqual(
      lines.map(({ step }) => step),
      Array.from({ length: STEPS }, (_, step) => step + 1),
    );
    assert.deepEqual(
      lines.map(({ loss, gradientNorm, evalLoss }) => ({ loss, gradientNorm, evalLoss })),
      expectedOf(linesOf(calm)),
    );
    assert.ok(lines.every(({ time }, index) => index === 0 || time >= lines[index - 1]!.time));
    if (metrics.resumedAtStep! > 0) return assert.ok(new Set(lines.map(({ generation }) => generation)).size > 1);
  }
});

function expectedOf(lines: readonly MetricsLine[]): unknown {
  return lines.map(({ loss, gradientNorm, evalLoss }) => ({ loss, gradientNorm, evalLoss }));
}
