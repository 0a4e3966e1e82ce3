import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openLog, type CommitLog } from "../../../../activities/train/log/commit-log.js";
import type { ShardFile, TrainAttempt } from "../../../../activities/train/log/entries.js";
import { METRICS } from "../../../../activities/train/log/metrics-files.js";
import type { TrainingPlace } from "../../../../activities/train/log/training-place.js";
import { Coordinator, type CoordinatorOptions } from "../../../../activities/train/rank/coordinator.js";
import type { ToAll } from "../../../../activities/train/rank/messages.js";
import { FencedError } from "../../../../core/errors.js";
import type { MetricsLine } from "../../../../core/training/metrics-line.js";
import type { StepEnd, TrainingEngine } from "../../../../engines/engine.js";
import { readLines } from "../../../../infra/disk/line-journal.js";
import { memoryStore } from "../../../../infra/store/memory-store.js";
import { job, madeRows } from "../../../workers/tiny.js";

/** A coordinator of one rank whose engine computes nothing. */

const end = (stepsDone: number): StepEnd => ({
  stepsDone,
  record: { loss: 2, norm: 1, seconds: 1, spent: {}, tokens: 9, labels: 5, rows: 2 },
});
const FILE: ShardFile = { shard: 0, file: "s", sha256: "0", bytes: 1 };

async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    assert.ok(tries < 2000, "it never came to it");
    await sleep(5);
  }
}

async function begin(t: TestContext, options: Omit<Partial<CoordinatorOptions>, "place"> & { readonly place?: object } = {}) {
  const { request } = await job(t, madeRows(4), { shards: 1 });
  const directory = join(request.root, "train");
  mkdirSync(directory);
  const log = await openLog(memoryStore());
  const generation = await log.append({ kind: "attempt", workers: 1, resumeFrom: null, resumeStep: 0 });
  const { config, inputs } = request;
  const common = { directory, config, inputs, resumeFrom: null, resumeStep: 0, totalSteps: 2, engine: null, socketPath: "", setAside: [] };
  const attempt: TrainAttempt = { generation, workers: 1, ...common };
  const ignore = (): Promise<void> => Promise.resolve();
  const place = { bringSteps: ignore, prune: ignore, keepSteps: ignore, log: () => Promise.resolve(log), ...options.place };
  const engine = { prepare: ignore, unlink: () => undefined } as unknown as TrainingEngine;
  const told: ToAll[] = [];
  const notes: string[] = [];
  const coordinator = new Coordinator({
    attempt,
    log,
    engine,
    fingerprint: {},
    moreAreThere: () => false,
    toAll: (message) => told.push(message),
    metricsCommand: null,
    say: (note) => notes.push(note),
    ...options,
    place: place as unknown as TrainingPlace,
  });
  coordinator.hear(0, { kind: "fetched", fingerprint: {} });
  return { coordinator, told, notes, log, directory };
}

/** Takes it through its two steps. */
function finish({ coordinator }: { readonly coordinator: Coordinator }): void {
  coordinator.hear(0, { kind: "arrive", barrier: 1 });
  coordinator.hear(0, { kind: "arrive", barrier: 2, end: end(1) });
  coordinator.hear(0, { kind: "arrive", barrier: 3, end: end(2) });
  coordinator.hear(0, { kind: "shard", stepsDone: 2, updates: 2, file: FILE });
}

/** A log that does not take the metrics command's run for a while. */
async function refusing(error: Error, times: number): Promise<CommitLog> {
  const log = await openLog(memoryStore());
  const append: CommitLog["append"] = async (entry) => {
    if (entry.kind === "exporter" && times-- > 0) throw error;
    return log.append(entry);
  };
  await log.append({ kind: "attempt", workers: 1, resumeFrom: null, resumeStep: 0 });
  return { ...log, append };
}

test("a store that does not take the metrics command's run ends nothing: it is said, and tried again at the next checkpoint", async (t) => {
  const log = await refusing(new Error("S3 answers 503"), 1);
  const begun = await begin(t, { log, metricsCommand: `echo '{"runId":"r-1"}'; cat > /dev/null` });
  await until(() => begun.notes.length > 0);
  assert.match(begun.notes[0]!, /S3 answers 503/);
  finish(begun);
  await until(() => begun.told.some(({ kind }) => kind === "committed"));
  await begun.coordinator.close();
  assert.deepEqual(
    log.entries.map(({ kind }) => kind),
    ["attempt", "exporter", "checkpoint"],
  );
  assert.ok(!begun.told.some(({ kind }) => kind === "over"));
});

test("a newer attempt ends this one also where only the metrics command's run is written", async (t) => {
  const log = await refusing(new FencedError("a newer attempt of this run has taken over", {}), 1);
  const { coordinator, told } = await begin(t, { log, metricsCommand: `echo '{"runId":"r-1"}'; cat > /dev/null` });
  await until(() => told.some((message) => message.kind === "over" && message.name === "FencedError"));
  await coordinator.close();
});

test("an attempt that a newer one has overtaken leaves the files of metrics alone", async (t) => {
  const log = await openLog(memoryStore());
  for (let attempts = 0; attempts < 2; attempts++) await log.append({ kind: "attempt", workers: 1, resumeFrom: null, resumeStep: 0 });
  const { coordinator, told, directory } = await begin(t, { place: { log: () => Promise.resolve(log) } });
  await until(() => told.some(({ kind }) => kind === "ready"));
  await coordinator.close();
  assert.ok(!existsSync(join(directory, METRICS)));
});

test("a slow store holds no training up: the steps that end meanwhile are in the files once it has answered", async (t) => {
  let answer: () => void = () => undefined;
  const bringSteps = (): Promise<void> => new Promise((resolve) => (answer = resolve));
  const begun = await begin(t, { place: { bringSteps } });
  const { told, coordinator, directory } = begun;
  await until(() => told.some(({ kind }) => kind === "ready"));
  finish(begun);
  await until(() => told.some(({ kind }) => kind === "committed"));
  assert.ok(!existsSync(join(directory, METRICS)));
  const closed = coordinator.close();
  answer();
  await closed;
  const steps = (await readLines<MetricsLine>(join(directory, METRICS))).map(({ step }) => step);
  assert.deepEqual(steps, [1, 2]);
});
