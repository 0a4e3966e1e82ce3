import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { demoRunConfig, realRunConfig } from "../../../cli/shell/demo-config.js";

const work = mkdtempSync(join(tmpdir(), "roslin-demo-config-"));
after(() => rmSync(work, { recursive: true, force: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(work, path)), { recursive: true });
  writeFileSync(join(work, path), text);
}

const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${"4d7a".repeat(16)}\nsize 2336927\n`;

test("of a directory of rows one in ten of the split to train on is held out", async () => {
  const rows = (count: number): string => '{"instruction": "a", "output": "b"}\n'.repeat(count);
  put("rows/README.md", "text");
  put("rows/dataset_infos.json", "{}");
  put("rows/data/b.jsonl", rows(100));
  assert.equal((await demoRunConfig(join(work, "rows"), undefined)).preprocess.testRows, 10);
  put("rows/data/train-00000-of-00001.jsonl", rows(30));
  assert.equal((await demoRunConfig(join(work, "rows"), undefined)).preprocess.testRows, 3);
  assert.equal((await demoRunConfig(join(work, "rows/data/b.jsonl"), undefined)).preprocess.testRows, 10);
});

test("a Git LFS pointer is named before the demo starts", async () => {
  const model = { "config.json": "{}", "model.safetensors": "w", "tokenizer.json": "{}" };
  for (const file of Object.keys(model)) {
    for (const [name, text] of Object.entries(model)) put(`model/${name}`, name === file ? POINTER : text);
    await assert.rejects(demoRunConfig(undefined, join(work, "model")), {
      name: "UserError",
      message: /Git LFS pointer.*realFile=2336927/,
    });
  }
  put("pointer.jsonl", POINTER);
  await assert.rejects(demoRunConfig(join(work, "pointer.jsonl"), undefined), { name: "UserError", message: /Git LFS pointer/ });
});

test("the real base is tuned by adapters in eight shards, with one row in five held out and never more than sixty", async () => {
  const rows = (count: number): string => '{"instruction": "a", "input": "", "output": "b"}\n'.repeat(count);
  for (const [count, held] of [
    [20, 4],
    [300, 60],
    [1000, 60],
  ] as const) {
    put("given.jsonl", rows(count));
    const { model, dataset, preprocess, train, evaluate } = await realRunConfig(join(work, "base.gguf"), join(work, "given.jsonl"));
    assert.equal(model.source, `file://${join(work, "base.gguf")}`);
    assert.ok(dataset.source.endsWith("/given.jsonl"));
    assert.equal(preprocess.testRows, held);
    assert.deepEqual([train.method, train.shards, evaluate.generateSamples], ["lora", 8, 5]);
  }
  const hub = await realRunConfig(join(work, "base.gguf"), undefined);
  assert.deepEqual([hub.dataset.source, hub.preprocess.testRows], ["hf://tatsu-lab/alpaca@main", 60]);
});
