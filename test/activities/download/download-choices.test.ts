import assert from "node:assert/strict";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { downloadDefinition } from "../../../activities/download/definition.js";
import { type StageResult } from "../../../core/stages/results.js";
import { artifactOf } from "../../../infra/disk/files.js";
import { HUB, requestFor } from "./dependencies.js";
import { setUp, pathOf } from "./fixture.js";

test("configuration and split are chosen on the hub by its card; the choice is told, and is part of the stage's key", async (context) => {
  const { server, run } = await setUp(context);
  const put = async (path: string, text: string): Promise<void> => {
    await mkdir(join(server.root, "datasets/org/d", path, ".."), { recursive: true });
    await writeFile(join(server.root, "datasets/org/d", path), text);
  };
  await rm(join(server.root, "datasets/org/d/data"), { recursive: true });
  await put(
    "README.md",
    "---\nconfigs:\n- config_name: de\n  data_dir: de\n- config_name: en\n  data_files: [en/train/1.jsonl, en/train/0.jsonl]\n---\n",
  );
  for (const [language, split, part] of [
    ["de", "train", 0],
    ["de", "test", 0],
    ["en", "train", 0],
    ["en", "train", 1],
  ] as const)
    await put(`${language}/${split}/${part}.jsonl`, `{"from": "${language} ${split} ${part}"}\n`);
  const rowsOf = async (result: StageResult<"download">): Promise<string[]> => {
    const directory = pathOf(result, "dataset");
    const files = (await readdir(directory, { recursive: true })).filter((name) => name.endsWith(".jsonl")).sort();
    return Promise.all(files.map(async (name) => (JSON.parse(await readFile(join(directory, name), "utf8")) as { from: string }).from));
  };
  await assert.rejects(run(HUB), {
    name: "UserError",
    message: /several configurations.*source=hf:\/\/org\/d, configurations=de, en, how=\?config=NAME&split=NAME/,
  });
  const english = await run({ ...HUB, dataset: { source: "hf://org/d?config=en" } });
  assert.deepEqual(await rowsOf(english), ["en train 1", "en train 0"], "in the card's order");
  assert.equal(english.metrics["datasetChoice"], "configuration en of de, en");
  assert.equal(english.metrics["datasetFiles"], "en/train/1.jsonl en/train/0.jsonl");
  assert.deepEqual(english.outputs[1]!.sha256, (await artifactOf("dataset", pathOf(english, "dataset"))).sha256);
  const german = await run({ ...HUB, dataset: { source: "hf://org/d", config: "de", split: "test" } });
  assert.deepEqual(await rowsOf(german), ["de test 0"]);
  assert.equal(german.metrics["datasetChoice"], "configuration de of de, en, split test of train, test");
  const key = (dataset: object): string => JSON.stringify(downloadDefinition.settings(requestFor({ ...HUB, dataset }, server.work).config));
  assert.equal(key({ source: "hf://org/d?split=test&config=de" }), key({ source: "hf://org/d", config: "de", split: "test" }));
  assert.notEqual(key({ source: "hf://org/d?config=de" }), key({ source: "hf://org/d?config=en" }));
  assert.notEqual(key({ source: "file:///d", config: "de" }), key({ source: "file:///d", config: "en" }));
  assert.equal(key({ source: "hf://org/d" }), JSON.stringify({ model: "hf://org/m@main", dataset: "hf://org/d" }));
});

test("a mirror that serves Git LFS pointers is named before a parser reads one", async (context) => {
  const { server, run } = await setUp(context);
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"4d7a".repeat(16)}\nsize 24207819307\n`;
  const files = [
    "models/org/m/config.json",
    "models/org/m/model.safetensors",
    "models/org/m/tokenizer.json",
    "datasets/org/d/data/rows.json",
    "datasets/org/d/README.md",
  ];
  for (const file of files) {
    const before = await readFile(join(server.root, file));
    await writeFile(join(server.root, file), pointer);
    const name = file.split("/").slice(3).join("/");
    await assert.rejects(run(HUB), {
      name: "UserError",
      message: new RegExp(`Git LFS pointer.*file=${name} of org/.*realFile=24207819307 bytes \\(24\\.2 GB\\)`),
    });
    await writeFile(join(server.root, file), before);
  }
  await run(HUB);
});
