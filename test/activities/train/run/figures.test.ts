import assert from "node:assert/strict";
import { test } from "node:test";
import { figures } from "../../../../activities/train/run/figures.js";
import type { CommitLog } from "../../../../activities/train/log/commit-log.js";
import type { CheckpointEntry } from "../../../../activities/train/log/entries.js";
import type { Ledger } from "../../../../core/stages/ledger.js";
import type { StepRecord } from "../../../../engines/engine.js";

test("a step without labels has neither loss nor norm, even where an earlier version wrote 0", () => {
  const step = (loss: number | null, labels: number): StepRecord => ({
    loss,
    norm: loss,
    seconds: 1,
    spent: {},
    tokens: 4,
    labels,
    rows: 2,
  });
  const entry = {
    kind: "checkpoint",
    step: 3,
    parent: null,
    fingerprint: { cpu: "c" },
    steps: [step(2, 3), step(0, 0), step(null, 0)],
  } as unknown as CheckpointEntry;
  const log = { entries: [{ kind: "attempt", resumeStep: 0 }, entry] } as unknown as CommitLog;
  const proof = { repeated: 0, equal: 0, different: [], checkpoints: 0, checkpointsEqual: 0 };
  const ledger = { wallSeconds: 3, usefulSeconds: 3, failures: 0, proof } as unknown as Ledger;
  const { losses, gradientNorms, steps } = figures(log, { commit: 2, entry }, ledger);
  assert.deepEqual([losses, gradientNorms, steps], [[2, null, null], [2, null, null], 3]);
});
