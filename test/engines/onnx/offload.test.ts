import assert from "node:assert/strict";
import { mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseRunConfig } from "../../../core/config/schema.js";
import { trainLocally } from "../../../workers/local-training.js";
import { job, madeRows } from "../../workers/tiny.js";
import { places } from "../places.js";

const RANK = join(import.meta.dirname, "../rank-child.js");
const TRAIN = { shards: 4, microBatch: 1, accumulation: 2, epochs: 2, learningRate: 1e-3 };

test("moments and weights that lie on disk give the bits of those in memory, and leave no file", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "roslin-offload-"));
  const digest = async (settings: object): Promise<string> => {
    const { request, context } = await job(t, madeRows(11), { ...TRAIN, ...settings });
    return (await trainLocally(places, request, 2, context(), RANK)).stateDigest!;
  };
  const inMemory = await digest({});
  assert.equal(await digest({ offload: { optimizer: "nvme", parameters: "nvme", directory } }), inMemory);
  assert.deepEqual(readdirSync(directory), []);
  assert.equal(await digest({ offload: { optimizer: "nvme" } }), inMemory);
});

test("what the engine cannot do is said", () => {
  assert.throws(
    () => parseRunConfig({ train: { offload: { optimizer: "cpu" } } }),
    /train\.offload: the engine onnx keeps all in the memory of the CPU anyway: take "nvme"/,
  );
});
