import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Stage } from "../../../../activities/common/stage.js";
import { trainDefinition } from "../../../../activities/train/definition.js";
import { METRICS } from "../../../../activities/train/log/metrics-files.js";
import { trainLocally } from "../../../../workers/local-training.js";
import { trainDeps } from "../../../../workers/train-deps.js";
import { job, madeRows } from "../../../workers/tiny.js";

test("a training whose metrics.jsonl cannot be written ends with its model, and says so", async (t) => {
  const { request, context, seen } = await job(t, madeRows(4), { shards: 1, microBatch: 2, epochs: 1 });
  const { directory } = new Stage(trainDefinition, request);
  // no file replaces a directory, as none is written to a full disk
  mkdirSync(join(directory, METRICS), { recursive: true });
  writeFileSync(join(directory, METRICS, "kept"), "");
  const { stateDigest } = await trainLocally(trainDeps, request, 1, context());
  assert.match(stateDigest!, /^[0-9a-f]{64}$/);
  assert.ok(seen.some(({ note, lasting }) => lasting && /metrics\.jsonl and TensorBoard's file lack steps: .*EISDIR/.test(note ?? "")));
});
