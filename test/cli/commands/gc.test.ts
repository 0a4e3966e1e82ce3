import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { gc } from "../../../cli/commands/gc.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { outputNamed, STAGES } from "../../../core/stages/results.js";
import { openStore } from "../../../infra/store/open-store.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { FINETUNE, type FinetuneResult } from "../../../workflows/contract.js";
import { startTestS3 } from "../../infra/store/weed.js";
import { rowOf, startMachine, until, type Machine, type Run } from "../../workers/machine.js";

let server: Awaited<ReturnType<typeof startTestS3>>;
let machine: Machine;
let variables: Record<string, string>;

before(async () => {
  server = await startTestS3();
  const { endpoint, credentials } = server.settings;
  variables = {
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: credentials!.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials!.secretAccessKey,
  };
  machine = await startMachine(1, (home) => ({ ...variables, HF_HOME: join(home, "hub-cache") }));
});
after(async () => {
  await machine?.stop();
  await server?.stop();
});

/** A quick run's settings, its rows in a bucket: other rows for another name, unless `more` of them says otherwise. */
async function configOf(rows: string, steps = 3, more = rows.length): Promise<object> {
  const store = openStore(`s3://roslin/${rows}`, server.settings);
  const [first, ...others] = JSON.parse(readFileSync(join(machine.home, "rows.json"), "utf8")) as unknown[];
  await store.write("rows.json", Buffer.from(JSON.stringify([...others, ...Array<unknown>(more).fill(first)])));
  const train = { ...machine.config.train, epochs: 2000, maxSteps: steps };
  return { ...machine.config, dataset: { source: `s3://roslin/${rows}/rows.json` }, train };
}

/** The stages' directories by what they are, and objects that were fetched from buckets. */
function placesOf({ stages }: FinetuneResult): { directories: string[]; object: string } {
  const directory = (name: string): string => {
    const { outputs } = stages.find(({ stage }) => stage === name)!;
    return dirname(fileURLToPath(outputs[0]!.uri));
  };
  const rows = fileURLToPath(outputNamed(stages[0]!.outputs, "dataset").uri);
  const objects = join(machine.home, "objects");
  const text = readFileSync(existsSync(join(rows, "rows.json")) ? join(rows, "rows.json") : rows);
  const object = readdirSync(objects).find((name) => readFileSync(join(objects, name)).equals(text))!;
  return { directories: ["download", "preprocess", "train", "evaluate"].map(directory), object: join(objects, object) };
}

/** All stages' directories. */
function directories(): string[] {
  const root = join(machine.home, "stages");
  return STAGES.flatMap((stage) =>
    existsSync(join(root, stage)) ? readdirSync(join(root, stage)).map((key) => join(root, stage, key)) : [],
  );
}

/** Calls `roslin gc`; what it printed. */
async function collect(t: TestContext, ...args: readonly string[]): Promise<string> {
  const lines: string[] = [];
  const log = t.mock.method(console, "log", (line: string) => void lines.push(line));
  const environment = readEnvironment(
    {
      ...process.env,
      ...variables,
      ROSLIN_HOME: machine.home,
      ROSLIN_S3: "external",
      HF_HOME: join(machine.home, "hub-cache"),
      TEMPORAL_ADDRESS: machine.address,
    },
    CHECKOUT,
  );
  assert.equal(await gc.run(args, environment), 0);
  log.mock.restore();
  return lines.join("\n");
}

test("beside a run and a schedule, what they and the last run need stays, the rest goes, once", { timeout: 300_000 }, async (t) => {
  const scheduled = await configOf("scheduled");
  const [old, first, last] = [await configOf("old-rows"), scheduled, await configOf("last")];
  const results: FinetuneResult[] = [];
  for (const [index, config] of [first, old, last].entries()) results.push(await (await machine.goOn(`run-${index}`, config)).result());
  await machine.temporal(
    ...["schedule", "create", "--schedule-id", "monthly", "--cron", "0 3 1 * *", "--workflow-id", "monthly"],
    ...["--type", "finetune", "--task-queue", "roslin", "--input", JSON.stringify(scheduled)],
  );
  const [kept, gone, keptLast] = results.map(placesOf);
  const before = await machine.commits();
  await machine.slow(true);
  const running = await machine.goOn("running", await configOf("running", 100_000));
  await until(async () => (await machine.commits()) > before);

  const printed = await collect(t, "--yes");
  assert.deepEqual([...gone!.directories, gone!.object].filter(existsSync), []);
  for (const place of [kept!, keptLast!])
    assert.deepEqual(
      [...place.directories, place.object].filter((path) => !existsSync(path)),
      [],
    );
  assert.match(printed, new RegExp(`kB  ${gone!.object}$`, "m"));
  assert.match(printed, /^removed \d+\.\d [kM]B; what 3 runs need is kept$/m);
  assert.match(printed, /kB of downloads in .*objects: from buckets$/m);
  assert.match(await collect(t, "--yes"), /^nothing to remove; what 3 runs need is kept$/m);

  const saved = await machine.commits();
  await until(async () => (await machine.commits()) > saved);
  await machine.temporal("workflow", "cancel", "--workflow-id", "running");
  await assert.rejects(running.result());
  await machine.slow(false);
  assert.match(await collect(t), /^nothing to remove; what 3 runs need is kept$/m, "a cancelled run may go on");
  const again = await (await machine.goOn("again", scheduled)).result();
  assert.deepEqual(
    again.stages.map(({ reused }) => reused),
    [true, true, true, true, true],
  );
});

test(
  "a run that trains keeps all that it has, though another run has taken the rows that are there now",
  { timeout: 240_000 },
  async (t) => {
    const others = new Set(directories());
    const config = await configOf("changing", 100_000);
    const commits = await machine.commits();
    await machine.slow(true);
    const running = await machine.goOn("rows-of-old", config);
    await until(async () => (await machine.commits()) > commits);
    const own = directories().filter((directory) => !others.has(directory));
    assert.equal(own.length, 3);
    const results = own.slice(0, 2).map((directory) => JSON.parse(readFileSync(join(directory, "stage.json"), "utf8")) as unknown);
    const second = await machine.goOn("rows-of-now", await configOf("changing", 100_000, 100));
    await until(async () => (await rowOf(second, "train")).startsWith("running"));
    await collect(t, "--yes");
    const gone = (): string[] => own.filter((directory) => !existsSync(directory));
    assert.deepEqual(gone(), []);
    const views = (): number => readdirSync(own[0]!).filter((name) => name.startsWith("dataset-")).length;
    assert.equal(views(), 2, "it may still read the old rows");

    const cancel = async (run: Run): Promise<void> => {
      await machine.temporal("workflow", "cancel", "--workflow-id", run.workflowId);
      await assert.rejects(run.result());
    };
    await cancel(second);
    await cancel(running);
    const listed = (status: string): Promise<void> =>
      until(async () => (await machine.client.workflow.count(`WorkflowId = 'continued' AND ExecutionStatus = '${status}'`)).count === 1);
    // one that continues as new takes along what it knows
    const continued = {
      taskQueue: "nobody",
      workflowId: "continued",
      args: [config, { plan: { config: parseRunConfig(config) }, results }],
    };
    await machine.client.workflow.start(FINETUNE, continued);
    await listed("Running");
    await collect(t, "--yes");
    assert.deepEqual(gone(), []);
    await machine.temporal("workflow", "terminate", "--workflow-id", "continued");
    await listed("Terminated");
    await collect(t, "--yes");
    assert.deepEqual(gone(), own.slice(1), "it would begin with the new rows");
    assert.equal(views(), 1);
  },
);
