import assert from "node:assert/strict";
import { appendFile, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseRunConfig } from "../../core/config/schema.js";
import { promptOf } from "../../core/text/prompt.js";
import { splitRows } from "../../core/rows/split.js";
import { createTokenizer } from "../../core/text/tokenizer.js";
import { makeDemoAssets } from "../../demo/assets.js";
import { demoConfig } from "../../demo/config.js";
import { demoRows } from "../../demo/dataset.js";
import { gpt2Tokenizer } from "../../demo/tokenizer.js";
import { sha256File } from "../../infra/disk/files.js";
import { ModelFiles } from "../../infra/weights/model-files.js";

const WEIGHTS = "models/roslin/demo-gptj/model.safetensors";

test("the demo's files are the same bytes everywhere, made once, and made again when they are damaged", async (context) => {
  const root = await mkdtemp(join(tmpdir(), "roslin-demo-"));
  context.after(() => rm(root, { recursive: true, force: true }));
  const digests = await makeDemoAssets(root);
  // other digests? raise VERSION in demo/assets.ts, so that files of an older demo are replaced
  assert.deepEqual(
    [WEIGHTS, "models/roslin/demo-gptj/tokenizer.json", "datasets/roslin/demo-questions/questions.json"].map((path) =>
      digests[path]!.slice(0, 12),
    ),
    ["434651864229", "14b26a55d53a", "af0ec4f8312f"],
  );
  const model = new ModelFiles(join(root, "models/roslin/demo-gptj"));
  context.after(() => model.close());
  assert.deepEqual([model.model.shape.vocabulary, model.model.shape.width, model.dtype], [50400, 128, "F32"]);

  const before = await stat(join(root, WEIGHTS));
  await makeDemoAssets(root);
  assert.equal((await stat(join(root, WEIGHTS))).mtimeMs, before.mtimeMs);
  await appendFile(join(root, WEIGHTS), "x");
  assert.deepEqual(await makeDemoAssets(root), digests);
  assert.equal(await sha256File(join(root, WEIGHTS)), digests[WEIGHTS]);
  assert.deepEqual(JSON.parse(await readFile(join(root, "datasets/roslin/demo-questions/questions.json"), "utf8")), demoRows());
});

test("no question comes twice, and training asks the held-out questions in other words", () => {
  const rows = demoRows();
  assert.equal(new Set(rows.map((row) => promptOf(row))).size, rows.length);
  const { preprocess } = parseRunConfig(demoConfig());
  const isTest = splitRows(rows.length, preprocess.testRows, preprocess.seed);
  const trained = new Set(rows.filter((_, index) => isTest[index] === 0).map((row) => row.output));
  assert.ok(rows.every(({ output }) => trained.has(output)));
});

test("the demo's tokenizer is GPT-J's", () => {
  const tokenizer = createTokenizer(gpt2Tokenizer(), "tokenizer.json");
  assert.deepEqual(
    tokenizer.encode("Hello Dolly!<|endoftext|><|extratoken_1|><|extratoken_143|>"),
    [15496, 360, 5098, 0, 50256, 50257, 50399],
  );
  assert.equal(tokenizer.decode([21017, 18261, 25, 198]), "### Response:\n");
});

test("the demo's settings are a run's settings, and gentler to a user's model and dataset", () => {
  const given = parseRunConfig(demoConfig({ dataset: true, model: true })).train;
  const demo = parseRunConfig(demoConfig()).train;
  assert.equal(demo.maxSteps, null);
  assert.ok(given.maxSteps !== null && given.learningRate < demo.learningRate);
});
