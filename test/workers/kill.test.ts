import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { Client, Connection } from "@temporalio/client";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";
import { lookAt } from "../../cli/follow.js";
import { planMachine } from "../../cli/machine.js";
import { Supervisor, type Supervised } from "../../cli/supervisor.js";
import { FINETUNE, TASK_QUEUE, type FinetuneResult } from "../../workflows/contract.js";

/** The whole pipeline on a real server and real, supervised worker processes, which are killed. */

let home: string;
let supervisor: Supervisor;
let processes: readonly Supervised[] = [];
let connection: Connection;
let client: Client;
let config: unknown;

before(async () => {
  home = await mkdtemp(join(tmpdir(), "roslin-kill-"));
  const usual = readEnvironment(process.env, CHECKOUT);
  const environment = { ...usual, home, s3: "external" as const, externalTemporal: false };
  const machine = await planMachine(environment, 3, () => undefined);
  supervisor = new Supervisor(
    machine.groups,
    async (now) => void (processes = now),
    () => undefined,
  );
  await supervisor.start(new AbortController().signal);
  connection = await Connection.connect({ address: machine.temporal!.address });
  client = new Client({ connection });
  config = await smallConfig();
});
after(async () => {
  await connection?.close();
  await supervisor?.stop();
  await rm(home, { recursive: true, force: true });
});

/** Sequences that a model of two layers learns in a few seconds. */
async function smallConfig(): Promise<unknown> {
  const rows = Array.from({ length: 600 }, (_, row) => {
    const length = 8 + ((row * 7) % 33);
    const ids = Array.from({ length }, (_, at) => (row * 11 + at * 3) % 320);
    return { input_ids: ids, labels: ids.map((id, at) => (at < 3 ? -100 : id)) };
  });
  await writeFile(join(home, "rows.json"), JSON.stringify(rows));
  return {
    model: { source: pathToFileURL(join(CHECKOUT, "test", "reference", "gptj-tiny")).href },
    dataset: { source: pathToFileURL(join(home, "rows.json")).href },
    preprocess: { maxLength: 64, testRows: 60 },
    train: { shards: 4, microBatch: 2, learningRate: 1e-3, epochs: 3, checkpointEverySteps: 10, workers: { min: 1, waitSeconds: 20 } },
    evaluate: { generateSamples: 2 },
    publish: { target: pathToFileURL(join(home, "published")).href },
  };
}

/** Kills processes by the names that the supervisor gave them. */
function kill(...names: readonly string[]): void {
  for (const { name, pid } of processes) if (names.includes(name)) process.kill(pid, "SIGKILL");
}

/** Runs the pipeline from scratch; `disturb` is called as soon as an activity is under way. */
async function run(id: string, disturb: (activity: string, commits: number, note: string) => void): Promise<FinetuneResult> {
  await rm(join(home, "stages"), { recursive: true, force: true });
  const handle = await client.workflow.start<(input: unknown) => Promise<FinetuneResult>>(FINETUNE, {
    taskQueue: TASK_QUEUE,
    workflowId: id,
    args: [config],
  });
  const result = handle.result();
  let ended = false;
  const end = (): void => void (ended = true);
  result.then(end, end);
  while (!ended) {
    const pending = (await handle.describe()).raw.pendingActivities ?? [];
    for (const activity of pending) disturb(activity.activityId ?? "", await committed(), lookAt([activity]).progress?.note ?? "");
    await sleep(5);
  }
  return result;
}

/** How many entries the training's commit log has. */
async function committed(): Promise<number> {
  const names = await readdir(join(home, "stages"), { recursive: true }).catch(() => []);
  return names.filter((name) => /commits\/\d+\.json$/.test(name)).length;
}

const digestOf = (result: FinetuneResult): string => result.stages.find(({ stage }) => stage === "train")!.stateDigest!;

let first: Promise<FinetuneResult> | undefined;
/** A run that nobody disturbs, the same for all tests. */
const undisturbed = (): Promise<FinetuneResult> => (first ??= run("calm", () => undefined));

test("a run whose workers are killed in every stage ends with the bytes of an undisturbed one", { timeout: 480_000 }, async () => {
  const calm = await undisturbed();
  assert.equal(calm.trainingAttempts, 1);

  const killed = new Set<string>();
  const once = (what: string, ...names: readonly string[]): void => {
    if (killed.has(what)) return;
    killed.add(what);
    kill(...names);
  };
  const short = ["download", "preprocess", "evaluate", "publish", "train-finish"];
  const disturb = (activity: string, commits: number): void => {
    if (short.includes(activity)) once(activity, "pipeline");
    if (activity === "train-0-g1" && commits >= 3) once("one", "gpu-1");
    const generation = Number(/^train-0-g(\d+)$/.exec(activity)?.[1] ?? 0);
    if (generation > 1 && commits >= 6) once("all", "gpu-0", "gpu-1", "gpu-2", "pipeline");
  };
  const published = (result: FinetuneResult) => result.stages.at(-1)!.outputs.map(({ name, sha256 }) => [name, sha256]);
  // a fast machine may be through a short stage between two looks: what was missed is tried again
  const missed = (): string[] => short.filter((stage) => !killed.has(stage));
  for (let tries = 1; tries === 1 || (tries <= 3 && missed().length > 0); tries++) {
    const disturbed = await run(`disturbed-${tries}`, disturb);
    if (tries === 1) assert.ok(disturbed.trainingAttempts >= 3, `${disturbed.trainingAttempts} attempts`);
    assert.equal(digestOf(disturbed), digestOf(calm));
    assert.deepEqual(published(disturbed), published(calm));
  }
  assert.ok(killed.has("one") && killed.has("all"));
  assert.ok(missed().length <= 2, `never seen under way: ${missed().join(", ")}`);
});

test("pausing one rank's activity holds training until it is unpaused", { timeout: 120_000 }, async () => {
  const { workflowService } = connection;
  const name = { namespace: "default", execution: { workflowId: "paused" } };
  let paused = "";
  let before = -1;
  const result = await run("paused", (activity, commits, note) => {
    if (paused === "" && /^train-1-g\d+$/.test(activity) && commits >= 3) {
      paused = activity;
      void workflowService.pauseActivity({ ...name, id: activity });
    }
    if (activity !== paused || !note.startsWith("paused") || before >= 0) return;
    before = commits;
    void sleep(3000)
      .then(committed)
      .then((now) => {
        assert.equal(now, before);
        return workflowService.unpauseActivity({ ...name, id: activity });
      });
  });
  assert.ok(before >= 3);
  assert.equal(result.trainingAttempts, 2);
  assert.equal(digestOf(result), digestOf(await undisturbed()));
});
