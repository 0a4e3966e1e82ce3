import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TrainAttempt } from "../../../../activities/train/log/entries.js";
import { readWhereabouts, WhereaboutsFile } from "../../../../activities/train/log/whereabouts.js";
import { Computing } from "../../../../activities/train/rank/computing.js";
import { parseRunConfig } from "../../../../core/config/schema.js";
import type { ComputeEvent, StepEnd, TrainingEngine } from "../../../../engines/engine.js";

const end = (stepsDone: number, evaluation: StepEnd["record"]["evaluation"]): StepEnd => ({
  stepsDone,
  record: { loss: 2, norm: 1, seconds: 1, spent: {}, tokens: 9, labels: 5, rows: 2, ...(evaluation !== undefined && { evaluation }) },
});

test("a death while test rows are computed is put down to no step, and one after it to the next", async () => {
  const directory = mkdtempSync(join(tmpdir(), "roslin-computing-"));
  const file = new WhereaboutsFile(directory, 1, { worker: 0, pid: 7, started: "then" });
  let hear: (event: ComputeEvent) => void = () => undefined;
  const compute = { release: () => undefined, abort: () => undefined, moved: () => 0, ended: new Promise<string>(() => undefined) };
  const engine = { start: (_rank: unknown, said: typeof hear) => ((hear = said), compute) } as unknown as TrainingEngine;
  const inputs = ["model", "tokens"].map((name) => ({ name, uri: `file:///${name}`, sha256: "", bytes: 0 }));
  const attempt = { directory, workers: 1, config: parseRunConfig({}), inputs, resumeStep: 4, totalSteps: 9, engine: {} };
  const ignore = (): void => undefined;
  const events = { arrive: ignore, shard: ignore, tell: ignore, done: ignore, failed: ignore };
  const computing = new Computing(engine, attempt as unknown as TrainAttempt, 0, file, events);
  const step = async (): Promise<number | null> => (await readWhereabouts(directory, 1))[0]!.step;

  computing.start(attempt as unknown as TrainAttempt, "127.0.0.1", null);
  hear({ kind: "arrive", barrier: 1 });
  computing.release(1, "go");
  assert.equal(await step(), 4);
  hear({ kind: "arrive", barrier: 2 });
  computing.release(2, "go");
  hear({ kind: "arrive", barrier: 3, evaluates: true });
  assert.equal(await step(), 4, "others are still at the step");
  computing.release(3, "go");
  assert.equal(await step(), null);
  hear({ kind: "arrive", barrier: 4 });
  computing.release(4, "go");
  assert.equal(await step(), null);
  hear({ kind: "arrive", barrier: 5, end: end(5, { loss: 2.5, labels: 3, seconds: 1 }) });
  computing.release(5, "go");
  assert.deepEqual([await step(), computing.evalLoss], [5, 2.5]);
  hear({ kind: "arrive", barrier: 6, end: end(6, undefined) });
  assert.equal(computing.evalLoss, 2.5, "the last one that was measured");
});
