import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parse } from "yaml";
import { download } from "../../../activities/download/download.js";
import { publish } from "../../../activities/publish/publish.js";
import type { StageRequest } from "../../../activities/common/stage.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { UserError } from "../../../core/errors.js";
import type { Manifest } from "../../../core/format/manifest.js";
import { outputNamed } from "../../../core/stages/results.js";
import { dependenciesFor } from "../download/dependencies.js";
import { finishedRun, publishDependencies } from "../publish/run.js";

const root = mkdtempSync(join(tmpdir(), "roslin-card-"));
after(() => rmSync(root, { recursive: true }));
const context = { signal: new AbortController().signal, progress: () => undefined };

/** The front matter of a card, by field: what the hub reads. */
function frontMatter(uri: string): unknown {
  const [, matter] = /^---\n(.*?)\n---\n/s.exec(readFileSync(join(fileURLToPath(uri), "README.md"), "utf8"))!;
  return parse(matter!);
}

/** Publishes a model that was tuned on these rows from what a hub or `base`, a local source, gave. */
async function published(model: string, dataset: string): Promise<string> {
  const place = mkdtempSync(join(root, "run-"));
  const request = await finishedRun(place, pathToFileURL(join(root, "target")).href);
  copyFileSync(join(place, "rows.json"), join(place, "alpaca.json"));
  const local = (source: string): string => (source.startsWith("./") ? pathToFileURL(join(place, source)).href : source);
  const config = parseRunConfig({ ...request.config, model: { source: local(model) }, dataset: { source: local(dataset) } });
  const { outputs } = await publish(
    publishDependencies(),
    { ...request, config, inputs: await downloaded(place, { ...request, config }) },
    context,
  );
  return outputNamed(outputs, "published").uri;
}

async function downloaded(place: string, request: StageRequest): Promise<StageRequest["inputs"]> {
  const { config, inputs } = request;
  // what is on the hub is as the tests' run has it
  const model = { source: config.model.source.startsWith("hf:") ? pathToFileURL(join(place, "base")).href : config.model.source };
  const dataset = { ...config.dataset, source: pathToFileURL(join(place, "rows.json")).href };
  const { outputs } = await download(
    dependenciesFor("http://127.0.0.1:9", place),
    { ...request, config: { ...config, model, dataset } },
    context,
  );
  return inputs.map((input) => outputs.find(({ name }) => name === input.name) ?? input);
}

const EVERY = { library_name: "transformers", pipeline_tag: "text-generation", tags: ["gptj", "instruction-tuning", "roslin"] };
const GPTJ = { base_model: "EleutherAI/gpt-j-6b", base_model_relation: "finetune" };
const ENGLISH = { language: ["en"] };
const ALPACA = { license: "cc-by-nc-4.0", datasets: ["tatsu-lab/alpaca"], ...ENGLISH };
const DOLLY = { datasets: ["databricks/databricks-dolly-15k"], ...ENGLISH };
const QWEN = { base_model: "Qwen/Qwen2.5-3B", base_model_relation: "finetune" };

test("the front matter of a card says what the hub's specification asks for, as far as anybody knows it", async () => {
  for (const [model, dataset, expected] of [
    ["hf://EleutherAI/gpt-j-6b@float16", "hf://tatsu-lab/alpaca@main", { ...ALPACA, ...GPTJ }],
    ["hf://EleutherAI/gpt-j-6b", "./rows.json", { license: "unknown", ...GPTJ }],
    ["./base", "hf://tatsu-lab/alpaca", ALPACA],
    ["./base", "./alpaca.json", { license: "cc-by-nc-4.0", ...ENGLISH }],
    ["hf://EleutherAI/gpt-j-6b", "hf://databricks/databricks-dolly-15k", { license: "cc-by-sa-3.0", ...GPTJ, ...DOLLY }],
    ["./base", "hf://databricks/databricks-dolly-15k", { license: "unknown", ...DOLLY }],
    [
      "hf://Qwen/Qwen2.5-3B",
      "hf://databricks/databricks-dolly-15k",
      {
        license: "other",
        license_name: "qwen-research",
        license_link: "https://huggingface.co/Qwen/Qwen2.5-3B/blob/main/LICENSE",
        ...QWEN,
        ...DOLLY,
      },
    ],
    ["hf://Qwen/Qwen2.5-3B", "hf://tatsu-lab/alpaca", { ...ALPACA, ...QWEN }],
    ["./base", "hf://somebody/rows@v1", { license: "unknown", datasets: ["somebody/rows"] }],
    ["./base", "./rows.json", { license: "unknown" }],
  ] as const)
    assert.deepEqual(frontMatter(await published(model, dataset)), { ...EVERY, ...expected }, `${model} on ${dataset}`);
});

test("licence and base model are handed on to what is tuned from a published model, however deep, and its name", async () => {
  const target = pathToFileURL(join(root, "target")).href;
  const name = (uri: string): string => uri.slice(uri.lastIndexOf("/") + 1).replace(/[0-9a-f]{12}$/, "");
  for (const [model, dataset, expected] of [
    ["hf://EleutherAI/gpt-j-6b@float16", "hf://tatsu-lab/alpaca@main", { license: "cc-by-nc-4.0", ...GPTJ }],
    ["./base", "./alpaca.json", { license: "cc-by-nc-4.0" }],
    ["hf://EleutherAI/gpt-j-6b", "./rows.json", { license: "unknown", ...GPTJ }],
  ] as const) {
    rmSync(join(root, "target"), { recursive: true, force: true });
    const first = await published(model, dataset);
    let base = first;
    for (const source of [`${target}/latest.json`, `${target}/latest`, target, null]) {
      base = await published(source ?? base, "./rows.json");
      assert.deepEqual(frontMatter(base), { ...EVERY, ...expected }, `${model} on ${dataset}, then ${source}`);
      assert.equal(name(base), name(first));
      const card = readFileSync(join(fileURLToPath(base), "README.md"), "utf8");
      assert.equal(/for research only, not for commercial use/.test(card), expected.license === "cc-by-nc-4.0");
    }
    const last = await published(base, "hf://tatsu-lab/alpaca");
    assert.deepEqual(frontMatter(last), { ...EVERY, ...expected, ...ALPACA });
  }
});

test("an older base hands on what its chain says, and one whose manifest is gone is said", async () => {
  const uri = await published("hf://EleutherAI/gpt-j-6b@float16", "hf://tatsu-lab/alpaca@main");
  const copy = join(root, "copy");
  mkdirSync(copy);
  const {
    licence: _,
    baseModel: __,
    publishVersion: ___,
    ...manifest
  } = JSON.parse(readFileSync(join(fileURLToPath(uri), "manifest.json"), "utf8")) as Manifest;
  manifest.chain[0]!.settings = { model: "hf://EleutherAI/gpt-j-6b@float16", dataset: "hf://tatsu-lab/alpaca@main" };
  for (const name of ["config.json", "generation_config.json", "model.safetensors"])
    copyFileSync(join(fileURLToPath(uri), name), join(copy, name));
  writeFileSync(join(copy, "manifest.json"), JSON.stringify(manifest));
  const next = await published(pathToFileURL(copy).href, "./rows.json");
  assert.deepEqual(frontMatter(next), { ...EVERY, ...GPTJ, license: "cc-by-nc-4.0" });

  const place = mkdtempSync(join(root, "run-"));
  const request = await finishedRun(place, pathToFileURL(join(root, "target")).href);
  const config = parseRunConfig({ ...request.config, model: { source: pathToFileURL(copy).href } });
  const inputs = await downloaded(place, { ...request, config });
  rmSync(join(copy, "manifest.json"));
  await assert.rejects(
    publish(publishDependencies(), { ...request, config, inputs }, context),
    (error) => error instanceof UserError && /the manifest of the published model .* is gone/.test(error.message),
  );
});
