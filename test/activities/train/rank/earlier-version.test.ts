import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { runRank } from "../../../../activities/train/rank/rank.js";
import type { TrainAttempt } from "../../../../activities/train/log/entries.js";
import { parseRunConfig } from "../../../../core/config/schema.js";
import { trainDeps } from "../../../../workers/train-deps.js";

const directory = mkdtempSync(join(tmpdir(), "roslin-earlier-"));
after(() => rmSync(directory, { recursive: true }));

test("an attempt that a version without engines began ends as a lost one, and the next one follows", async () => {
  const attempt = {
    generation: 1,
    workers: 2,
    directory,
    config: parseRunConfig(null),
    inputs: [],
    resumeStep: 0,
    totalSteps: 9,
    resumeFrom: null,
    capacity: {},
    keepActivations: true,
    sharedPath: join(directory, "g1.weights"),
    socketPath: join(directory, "g1.sock"),
    setAside: [],
  };
  const context = { signal: new AbortController().signal, progress: () => undefined };
  await assert.rejects(runRank(trainDeps, { attempt: attempt as unknown as TrainAttempt, worker: 1 }, context), {
    name: "StoppedError",
    message: /begun by an earlier version of Roslin/,
  });
});
