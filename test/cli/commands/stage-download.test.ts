import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { stage } from "../../../cli/commands/stage.js";
import { outputNamed, type StageResult } from "../../../core/stages/results.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { startTestHub } from "../../infra/sources/hub/harness.js";

const REFERENCE = join(import.meta.dirname, "../../../../test/reference");
const MODEL = pathToFileURL(join(REFERENCE, "gptj-tiny")).href;

test("roslin stage download takes the configuration and split that a source names, and says so", async (t) => {
  const parquet = readFileSync(join(REFERENCE, "rows.parquet"));
  const card = "---\nconfigs:\n- config_name: de\n  data_files: de/train/*\n- config_name: en\n  data_dir: en\n---\n";
  const hub = await startTestHub({
    "datasets/org/d/README.md": card,
    ...Object.fromEntries(["de/train/0000", "en/train/0000", "en/test/0000"].map((path) => [`datasets/org/d/${path}.parquet`, parquet])),
  });
  t.after(() => hub.close());
  const environment = readEnvironment({ ROSLIN_HOME: hub.work, HF_ENDPOINT: hub.url, HF_HOME: join(hub.work, "hf") }, CHECKOUT);
  const said: string[] = [];
  t.mock.method(console, "log", (line: string) => void said.push(line));
  const run = async (dataset: object): Promise<StageResult<"download">> => {
    const file = join(hub.work, "run.json");
    await writeFile(file, JSON.stringify({ model: { source: MODEL }, dataset }));
    assert.equal(await stage.run(["download", "--config", file, "--dir", join(hub.work, "dir"), "--json"], environment), 0);
    return JSON.parse(said.pop()!) as StageResult<"download">;
  };
  const filesOf = async (result: StageResult<"download">): Promise<string[]> => {
    const found = await readdir(fileURLToPath(outputNamed(result.outputs, "dataset").uri), { recursive: true });
    return found.filter((name) => name.endsWith(".parquet"));
  };
  await assert.rejects(run({ source: "hf://org/d" }), {
    name: "UserError",
    message: /several configurations.*configurations=de, en, how=/,
  });
  await assert.rejects(run({ source: "hf://org/d?config=en", config: "de" }), {
    name: "ConfigError",
    message: /dataset\.config: contradicts/,
  });
  const english = await run({ source: "hf://org/d?config=en" });
  assert.deepEqual(await filesOf(english), ["en/train/0000.parquet"]);
  assert.equal(english.metrics["datasetChoice"], "configuration en of de, en, split train of train, test");
  assert.equal(english.metrics["datasetFiles"], "en/train/0000.parquet");
  const tests = await run({ source: "hf://org/d", config: "en", split: "test" });
  assert.deepEqual(await filesOf(tests), ["en/test/0000.parquet"]);
  assert.equal((await run({ source: "hf://org/d?split=test&config=en" })).reused, true, "one choice, wherever it is written");
});
