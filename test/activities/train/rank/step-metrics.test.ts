import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Stage } from "../../../../activities/common/stage.js";
import { trainDefinition } from "../../../../activities/train/definition.js";
import { openLog } from "../../../../activities/train/log/commit-log.js";
import type { MetricsLine } from "../../../../core/training/metrics-line.js";
import { processStart } from "../../../../infra/process/process-start.js";
import { fileStore } from "../../../../infra/store/file-store.js";
import { trainLocally } from "../../../../workers/local-training.js";
import { places } from "../../../engines/places.js";
import { job, madeRows } from "../../../workers/tiny.js";

const RANK = join(import.meta.dirname, "../../../engines/rank-child.js");
const TRAIN = { shards: 2, microBatch: 2, epochs: 20, learningRate: 1e-3, checkpointEverySteps: 10 };
const STEPS = 60;

/** Sets the command for the ranks' processes. */
function setCommand(t: TestContext, command: string): void {
  process.env["ROSLIN_METRICS_COMMAND"] = command;
  t.after(() => delete process.env["ROSLIN_METRICS_COMMAND"]);
}

test("a command is told of all steps in each attempt, and the next one goes on in the run that it named", async (t) => {
  const { request, context } = await job(t, madeRows(10), TRAIN);
  const { directory } = new Stage(trainDefinition, request);
  const at = (name: string): string => join(request.root, name);
  setCommand(t, `read head; echo "$head" >> ${at("heads")}; echo '{"runId":"r-1"}'; cat > ${at("lines")}`);
  const stop = new AbortController();
  const first = trainLocally(places, request, 1, context(stop.signal), RANK);
  const commits = async (): Promise<number> => (await openLog(fileStore(directory)).catch(() => ({ entries: [] }))).entries.length;
  while ((await commits()) < 2) await sleep(2);
  stop.abort(new Error("enough for today"));
  await assert.rejects(first, /enough for today/);
  const { stateDigest } = await trainLocally(places, request, 2, context(), RANK);

  // it has the rest of the lines a moment after the training
  const { pid } = JSON.parse(readFileSync(join(directory, "exporter.pid"), "utf8")) as { readonly pid: number };
  while (processStart(pid) !== null) await sleep(5);
  const heads = readFileSync(at("heads"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    heads.map(({ runId, totalSteps, name }) => ({ runId, totalSteps, name })),
    [null, "r-1"].map((runId) => ({ runId, totalSteps: STEPS, name: heads[0]!["name"] })),
  );
  const lines = readFileSync(at("lines"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as MetricsLine);
  assert.deepEqual(
    lines.map(({ step }) => step),
    Array.from({ length: STEPS }, (_, step) => step + 1),
  );
  const { entries } = await openLog(fileStore(directory));
  assert.ok(entries.filter(({ kind }) => kind === "exporter").length <= 1);

  setCommand(t, "echo no account >&2; exit 3");
  const other = await job(t, madeRows(10), TRAIN);
  const run = await trainLocally(places, other.request, 1, other.context(), RANK);
  assert.equal(run.stateDigest, stateDigest, "a command that fails stops nothing");
  assert.ok(other.seen.every(({ note, lasting }) => !note?.includes("ROSLIN_METRICS_COMMAND has ended (exit code 3)") || lasting));
});
