import assert from "node:assert/strict";
import { test } from "node:test";
import { assumedWorkload, estimate, showEstimate, stepsOf } from "../../bench/estimate.js";
import { modelOf } from "../../bench/job.js";
import { parseRunConfig } from "../../core/config/schema.js";
import { parameterCount } from "../../core/model/family.js";

const MODEL = modelOf({ width: 16, layers: 4, heads: 2, rotary: 4, vocabulary: 60, length: 12, rows: 1, dataset: null });
const PLACE = { workers: 2, download: 10, published: 20, memory: 1e9 };

test("an estimate scales what two layers took to the whole model, and counts steps and checkpoints", () => {
  const config = parseRunConfig({ preprocess: { maxLength: 12 }, train: { microBatch: 1, maxSteps: 3 } });
  const workload = assumedWorkload(config);
  const steps = stepsOf(MODEL, config, workload, PLACE.memory);
  const times = { blocks: 2, head: 1, updates: 0, rest: 0 };
  const found = estimate(MODEL, config, workload, PLACE, steps, { layers: 2, ranks: 1, own: 1e6, times });
  assert.equal(found.steps, 3);
  assert.equal(found.tokens, 3 * 8 * 12);
  assert.equal(found.disk.checkpoint, 12 * parameterCount(MODEL));
  // twice the layers, and two workers on one core
  assert.equal(found.speed!.secondsPerStep, (2 * 2 + 1) * 2);
  assert.equal(found.seconds!.train, 30);
  assert.match(showEstimate(found), /^rows .*the rows are not on this machine: 51,002 rows of 12 tokens are assumed/m);
});

test("where the speed was not measured, memory and disk are estimated alone", () => {
  const config = parseRunConfig({ train: { maxSteps: 1 } });
  const workload = assumedWorkload(config);
  const found = estimate(MODEL, config, workload, PLACE, stepsOf(MODEL, config, workload, PLACE.memory), null);
  assert.equal(found.speed, null);
  assert.ok(found.memory.worker > 100e6 && found.memory.all > found.memory.worker);
  assert.match(showEstimate(found), /^time +not known/m);
});
