import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { parseGpus } from "../../infra/gpu/nvidia-smi.js";
import { trainLocally } from "../../workers/local-training.js";
import { trainDeps } from "../../workers/train-deps.js";
import { TABLES } from "../infra/gpu/fake-nvidia-smi.js";
import { job, madeRows } from "./tiny.js";

const CHILD = join(import.meta.dirname, "local-gpus-child.js");

test("each rank of a stage alone is given its GPU, and none where there is none", async (t) => {
  const { request, context } = await job(t, madeRows(8), { shards: 2, microBatch: 1 });
  const [, second] = parseGpus(TABLES.two)!;
  await assert.rejects(trainLocally(trainDeps, request, 1, context(), CHILD, [second!]), { message: `given ${second!.uuid}` });
  await assert.rejects(trainLocally(trainDeps, request, 1, context(), CHILD), { message: "given " });
});
