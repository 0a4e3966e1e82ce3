import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { finishedStage } from "../../activities/common/stage.js";
import { openLog } from "../../activities/train/log/commit-log.js";
import type { LogEntry } from "../../activities/train/log/entries.js";
import { parseRunConfig } from "../../core/config/schema.js";
import { inputsFrom, resultNamed, type StageResult } from "../../core/stages/results.js";
import { openStore } from "../../infra/store/open-store.js";
import { CHECKOUT } from "../../workers/environment.js";
import { trainLocally } from "../../workers/local-training.js";
import { trainDeps } from "../../workers/train-deps.js";
import { FINETUNE, LEASE_ID, QUERIES, TASK_QUEUE, type FinetuneResult, type LeaseState } from "../../workflows/contract.js";
import { ask } from "../workflows/place.js";
import { until } from "../workers/machine.js";
import { startTwoMachines, type TwoMachines } from "./two-machines.js";

/** DeepSpeed's ranks on two machines that share nothing but Temporal and a bucket. */

const NAMES = ["dolly", "polly"];
const scratch = mkdtempSync(join(tmpdir(), "roslin-hosts-"));
let machines: TwoMachines;
before(async () => {
  machines = await startTwoMachines(NAMES);
});
after(async () => {
  await machines.stop();
  rmSync(scratch, { recursive: true, force: true });
});

function madeConfig() {
  const rows = Array.from({ length: 260 }, (_, row) => {
    const ids = Array.from({ length: 8 + ((row * 7) % 33) }, (_each, at) => (row * 11 + at * 3) % 320);
    return { input_ids: ids, labels: ids.map((id, at) => (at < 3 ? -100 : id)) };
  });
  writeFileSync(join(scratch, "rows.json"), JSON.stringify(rows));
  return {
    model: { source: pathToFileURL(join(CHECKOUT, "test", "reference", "gptj-tiny")).href },
    dataset: { source: pathToFileURL(join(scratch, "rows.json")).href },
    preprocess: { maxLength: 64, testRows: 20 },
    train: {
      engine: "deepspeed",
      shards: 4,
      microBatch: 2,
      learningRate: 1e-3,
      epochs: 2,
      checkpointEverySteps: 10,
      workers: { min: 2, waitSeconds: 5, hosts: 2 },
    },
    evaluate: { generateSamples: 1 },
    publish: { target: "s3://roslin/two" },
  };
}

test("a run on two machines goes on without the one that it began on, has the losses of one machine, and is published", async (t) => {
  t.diagnostic(machines.networks ? "each machine has a network of its own" : "both machines are homes on this one");
  const { client } = machines;
  const lease = (): Promise<LeaseState> => ask<LeaseState>(client.workflow.getHandle(LEASE_ID), QUERIES.lease);
  for (const name of NAMES) machines.up(name, 2);
  await until(async () => (await lease().catch(() => null))?.workers.length === 4);
  const config = madeConfig();
  const run = await client.workflow.start<(input: unknown) => Promise<FinetuneResult>>(FINETUNE, {
    taskQueue: TASK_QUEUE,
    workflowId: "two-machines",
    args: [config],
  });
  // the store that the plan named for it
  const store = openStore("s3://roslin/two/.roslin/train", machines.s3);
  const entries = async (): Promise<readonly LogEntry[]> => {
    const key = (await store.list("")).map((object) => /^(\w{16})\/commits\//.exec(object.key)?.[1]).find((each) => each !== undefined);
    return key === undefined ? [] : (await openLog(openStore(`${store.uri}/${key}`, machines.s3))).entries;
  };
  const attempts = async (): Promise<number[]> => (await entries()).flatMap((entry) => (entry.kind === "attempt" ? [entry.workers] : []));
  await until(async () => (await entries()).some(({ kind }) => kind === "checkpoint"));
  assert.deepEqual(await attempts(), [4], "all workers of both machines");
  // the coordinator's machine keeps the records of steps
  const home = NAMES.find((name) => stepsOn(machines.home(name)))!;
  machines.crash(home);

  const result = await run.result();
  assert.deepEqual(await attempts(), [4, 2]);
  const trained = resultNamed(result.stages, "train")!;
  const survivor = NAMES.find((name) => name !== home)!;
  assert.match(trained.outputs[0]!.uri, new RegExp(machines.home(survivor)));
  const { metrics } = await finishedTraining(machines.home(survivor));
  const losses = metrics.losses as number[];
  assert.equal(resultNamed(result.stages, "publish")!.metrics.target, "s3://roslin/two");

  // the same job on one machine, with the other engine
  const inputs = inputsFrom(result.stages).filter(({ name }) => name === "model" || name === "tokens");
  const train = { ...config.train, engine: "onnx", workers: { min: 1 } };
  const request = { config: parseRunConfig({ ...config, train }), inputs, root: join(scratch, "stages") };
  const alone = await trainLocally(trainDeps, request, 2, { signal: new AbortController().signal, progress: () => undefined });
  const apart = alone.metrics.losses!.map((loss, step) => Math.abs(loss! - losses[step]!));
  assert.equal(losses.length, alone.metrics.losses!.length);
  t.diagnostic(`losses are at most ${Math.max(...apart)} from those of the engine onnx`);
  assert.ok(Math.max(...apart) <= 5e-6, String(Math.max(...apart)));
});

function trainingsOf(home: string): string[] {
  const root = join(home, "stages", "train");
  return existsSync(root) ? readdirSync(root).map((key) => join(root, key)) : [];
}

function stepsOn(home: string): boolean {
  return trainingsOf(home).some((directory) => existsSync(join(directory, "steps")));
}

async function finishedTraining(home: string): Promise<StageResult<"train">> {
  return (await finishedStage(trainingsOf(home)[0]!)) as StageResult<"train">;
}
