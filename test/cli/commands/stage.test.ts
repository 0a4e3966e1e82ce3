import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DEFINITIONS } from "../../../activities/forecast/definitions.js";
import { stage } from "../../../cli/commands/stage.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { OUTPUTS, type Artifact, type StageResult } from "../../../core/stages/results.js";
import { artifactOf } from "../../../infra/disk/files.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { leave } from "../../activities/common/made-stages.js";

test("roslin stage train prints its output under the name that scripts know, and goes on with it as the tuned model", async (t) => {
  const root = await mkdtemp(join(tmpdir(), "roslin-stage-"));
  t.after(() => rm(root, { recursive: true }));
  const config = parseRunConfig({ train: { shards: 1 } });
  const inputs: Artifact[] = [];
  for (const name of ["download", "preprocess", "train"] as const) {
    const outputs: Artifact[] = [];
    for (const output of OUTPUTS[name]) {
      await writeFile(join(root, output), output);
      outputs.push(await artifactOf(output, join(root, output)));
    }
    await leave(DEFINITIONS[name], { config, inputs: [...inputs], root }, { outputs, stateDigest: "d" });
    inputs.push(...outputs);
  }
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
