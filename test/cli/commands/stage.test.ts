import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { DEFINITIONS } from "../../../activities/forecast/definitions.js";
import { stage } from "../../../cli/commands/stage.js";
import { parseRunConfig, type RunConfig } from "../../../core/config/schema.js";
import { OUTPUTS, type Artifact, type StageResult } from "../../../core/stages/results.js";
import { artifactOf } from "../../../infra/disk/files.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { leave } from "../../activities/common/made-stages.js";

/** Leaves those stages done below a directory, with files for their outputs. */
async function leaveStages(config: RunConfig, root: string, names: readonly ("download" | "preprocess" | "train")[]): Promise<Artifact[]> {
  const inputs: Artifact[] = [];
  for (const name of names) {
    const outputs: Artifact[] = [];
    for (const output of OUTPUTS[name]) {
      await writeFile(join(root, output), output);
      outputs.push(await artifactOf(output, join(root, output)));
    }
    await leave(DEFINITIONS[name], { config, inputs: [...inputs], root }, { outputs, stateDigest: "d" });
    inputs.push(...outputs);
  }
  return inputs;
}

test("roslin stage train prints its output under the name that scripts know, and goes on with it as the tuned model", async (t) => {
  const root = await mkdtemp(join(tmpdir(), "roslin-stage-"));
  t.after(() => rm(root, { recursive: true }));
  const config = parseRunConfig({ train: { shards: 1 } });
  const inputs = await leaveStages(config, root, ["download", "preprocess", "train"]);
  const file = join(root, "run.json");
  await writeFile(file, JSON.stringify(config));
  const said: string[] = [];
  t.mock.method(console, "log", (line: string) => void said.push(line));
  const call = ["train", "--config", file, "--dir", root];
  const environment = readEnvironment({ ROSLIN_HOME: root }, CHECKOUT);
  assert.equal(await stage.run([...call, "--json"], environment), 0);
  const { outputs, ...rest } = JSON.parse(said[0]!) as StageResult;
  assert.deepEqual(outputs, [{ ...inputs.at(-1)!, name: "model" }]);
  assert.deepEqual(rest, { stage: "train", stateDigest: "d", metrics: { seconds: 1 }, reused: true });
  assert.equal(await stage.run(call, environment), 0);
  assert.match(said[1]!, /^ {2}model +file:/m);
});

test("roslin stage evaluate starts the S3 server if the live model or a task's items are in a bucket", async (t) => {
  const root = await mkdtemp(join(tmpdir(), "roslin-stage-"));
  t.after(() => rm(root, { recursive: true }));
  const weed = join(root, "weed");
  await writeFile(weed, "#!/bin/sh\necho it was started\nexit 1\n", { mode: 0o755 });
  const environment = readEnvironment({ ROSLIN_HOME: root, WEED_PATH: weed }, CHECKOUT);
  const log = join(root, "logs", "s3.log");
  const isStarted = async (target: string | null, evaluate: object): Promise<boolean> => {
    const rules = [{ metric: "loss", against: "live", atMost: 1 }];
    const config = parseRunConfig({ evaluate: { gate: { rules }, ...evaluate }, publish: { target } });
    const file = join(root, "run.json");
    await writeFile(file, JSON.stringify(config));
    await leaveStages(config, root, ["download", "preprocess", "train"]);
    await rm(log, { force: true });
    await assert.rejects(stage.run(["evaluate", "--config", file, "--dir", root], environment));
    return (await readFile(log, "utf8").catch(() => "")).includes("it was started");
  };
  const near = pathToFileURL(join(root, "target")).href;
  const tasks = { names: ["piqa", "boolq"], data: { piqa: "file:///piqa.jsonl", boolq: "s3://bucket/boolq.jsonl" } };
  const live = { uri: "s3://bucket/model-1", manifest: "1".repeat(64) };
  assert.deepEqual(
    [await isStarted(near, {}), await isStarted(null, {}), await isStarted(near, { tasks }), await isStarted(near, { live })],
    [false, true, true, true],
  );
});
