import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { evaluate } from "../../../activities/evaluate/evaluate.js";
import { figureNamed, type Evaluation } from "../../../activities/evaluate/evaluation.js";
import { preprocess } from "../../../activities/preprocess/preprocess.js";
import { download } from "../../../activities/download/download.js";
import { publish } from "../../../activities/publish/publish.js";
import { verify } from "../../../cli/commands/verify.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { parseManifest, type Manifest } from "../../../core/format/manifest.js";
import { inputsFrom, outputNamed, type StageResult } from "../../../core/stages/results.js";
import { evaluateDeps } from "../../../workers/artifact-deps.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { trainLocally } from "../../../workers/local-training.js";
import { preprocessDeps } from "../../../workers/preprocess-deps.js";
import { trainDeps } from "../../../workers/train-deps.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { REFERENCE } from "../../core/model/reference.js";
import { madeRows } from "../../workers/tiny.js";
import { dependenciesFor } from "../download/dependencies.js";
import { publishDependencies } from "./run.js";

/** A base on this machine, an adapter of it, an adapter that goes on with that one; and the same merged: each is the next one's source. */

const root = mkdtempSync(join(tmpdir(), "roslin-adapters-"));
after(() => rmSync(root, { recursive: true }));
const rows = join(root, "rows.json");
writeFileSync(rows, JSON.stringify(madeRows(12).map(({ inputIds, labels }) => ({ input_ids: [...inputIds], labels: [...labels] }))));
const target = pathToFileURL(join(root, "published")).href;
const environment = readEnvironment({ ROSLIN_HOME: join(root, "home") }, CHECKOUT);

interface Run {
  readonly uri: string;
  readonly directory: string;
  readonly manifest: Manifest;
  readonly results: readonly StageResult[];
}

/** A whole run from a source to what it publishes. */
async function run(source: string, seed: number, merge: boolean, rules: readonly object[] = []): Promise<Run> {
  const config = parseRunConfig({
    model: { source },
    dataset: { source: pathToFileURL(rows).href },
    preprocess: { testRows: 3 },
    train: { method: "lora", lora: { rank: 2, targets: ["q_proj", "fc_out"] }, shards: 2, maxSteps: 2, learningRate: 1e-2, seed },
    evaluate: { generateSamples: 1, gate: { maxPerplexityRatio: 100, rules: [...rules] } },
    publish: { target, merge },
  });
  const context = { signal: new AbortController().signal, progress: () => undefined };
  const results: StageResult[] = [];
  const request = () => ({ config, inputs: inputsFrom(results), root: join(root, "stages") });
  results.push(await download(dependenciesFor("http://127.0.0.1:9", root), request(), context));
  results.push(await preprocess(preprocessDeps(1), request(), context));
  results.push(await trainLocally(trainDeps, request(), 1, context));
  results.push(await evaluate(evaluateDeps(readEnvironment({}, CHECKOUT)), request(), context));
  results.push(await publish(publishDependencies(), request(), context));
  const { uri } = outputNamed(results.at(-1)!.outputs, "published");
  const directory = fileURLToPath(uri);
  const path = join(directory, "manifest.json");
  return { uri, directory, manifest: parseManifest(readFileSync(path, "utf8"), path), results };
}

/** Calls `roslin verify`; its lines. */
async function verified(uri: string): Promise<string[]> {
  const lines: string[] = [];
  const { log } = console;
  console.log = (line: string) => void lines.push(line);
  try {
    await verify.run([uri], environment);
  } finally {
    console.log = log;
  }
  return lines;
}

const card = ({ directory }: Run): string => readFileSync(join(directory, "README.md"), "utf8");
const perplexities = ({ results }: Run): { base: number | null; tuned: number | null } =>
  results.find((result) => result.stage === "evaluate")!.metrics.perplexity!;

const reportOf = ({ directory }: Run): Evaluation => JSON.parse(readFileSync(join(directory, "evaluation.json"), "utf8")) as Evaluation;

const ADAPTER = ["adapter_config.json", "adapter_model.safetensors"];
const PAPERS = ["README.md", "config.json", "evaluation.json", "generation_config.json", "manifest.json", "report.html"];

test("an adapter is published, is the source of another one, and that one goes on with it; the chain holds", async () => {
  const base = join(root, "a base");
  cpSync(join(REFERENCE, "gptj-tiny"), base, { recursive: true });
  const first = await run(pathToFileURL(base).href, 1, false);
  assert.deepEqual(readdirSync(first.directory).sort(), [...PAPERS, ...ADAPTER].sort());
  assert.match(card(first), /^library_name: peft$/m);
  assert.match(card(first), /^base_model_relation: adapter$/m);
  assert.match(card(first), /PeftModel\.from_pretrained\(base, "DIRECTORY"\)/);
  assert.match(card(first), /\| method \| LoRA: rank 2, alpha 32, dropout 0, targets \["q_proj","fc_out"\]; the base is frozen \|/);
  assert.match(card(first), /\| trained parameters \| [\d,]+ in 4 adapters \|/);
  // a base on a machine is named by its digest alone
  assert.doesNotMatch(readFileSync(join(first.directory, "manifest.json"), "utf8"), /a base|%20/);

  const second = await run(`${target}/latest.json`, 2, false);
  const model = second.manifest.chain[0]!.outputs.find(({ name }) => name === "model")!;
  assert.equal(model.origin!.uri, first.manifest.name);
  assert.deepEqual(model.origin!.base!.files.map(({ name }) => name).includes("model.safetensors"), true);
  assert.notEqual(second.manifest.name, first.manifest.name);
  // what the second is compared with is the first
  assert.equal(perplexities(second).base, perplexities(first).tuned);
  assert.notEqual(perplexities(second).tuned, perplexities(second).base);
  const lines = await verified(second.uri);
  assert.ok(lines.includes(`ok      base model ${first.uri}`), lines.join("\n"));
  assert.ok(lines.includes(`ok      ${first.uri}/adapter_model.safetensors`));

  const merged = await run(first.uri, 2, true);
  assert.deepEqual(readdirSync(merged.directory).sort(), [...PAPERS, "model.safetensors", "onnx"].sort());
  assert.match(card(merged), /with low-rank adapters \(LoRA\) merged into it/);
  assert.match(card(merged), /^library_name: transformers$/m);
  assert.match(card(merged), /the base is frozen, and published with the adapters merged/);
  new ModelFiles(merged.directory).close();
  assert.ok((await verified(merged.uri)).every((line) => line.startsWith("ok") || line.startsWith("all")));

  // the same adapter alone is another publication
  const alone = await run(first.uri, 2, false);
  assert.notEqual(alone.uri, merged.uri);
  assert.deepEqual(readdirSync(alone.directory).sort(), [...PAPERS, ...ADAPTER].sort());

  const third = await run(merged.uri, 3, false);
  // merged weights answer as base and adapter did
  const [before, after] = [perplexities(merged).tuned!, perplexities(third).base!];
  assert.ok(Math.abs(before - after) < 1e-4 * before, `${before} ${after}`);
  assert.ok((await verified(third.uri)).includes(`ok      base model ${merged.uri}`));

  // adapters are compared with live ones as well: their bases are a published model, and a model of this machine
  const NEARLY = [{ metric: "perplexity", against: "live", atMost: 100 }];
  let live = third;
  for (const seed of [6, 7]) {
    const next = await run(pathToFileURL(base).href, seed, false, NEARLY);
    const { live: reference, ...report } = reportOf(next);
    const tuned = figureNamed(reportOf(live), "perplexity")!.tuned;
    assert.deepEqual([reference!.uri, figureNamed(report, "perplexity")!.live], [live.manifest.name, tuned]);
    live = next;
  }

  // an adapter of another tool, which lies elsewhere than the published base that it names
  const foreign = join(root, "elsewhere", "foreign");
  mkdirSync(foreign, { recursive: true });
  for (const name of ADAPTER) cpSync(join(third.directory, name), join(foreign, name));
  const config = JSON.parse(readFileSync(join(foreign, "adapter_config.json"), "utf8")) as object;
  writeFileSync(join(foreign, "adapter_config.json"), JSON.stringify({ ...config, base_model_name_or_path: merged.directory }));
  const fourth = await run(pathToFileURL(foreign).href, 5, false);
  assert.equal(fourth.manifest.chain[0]!.outputs.find(({ name }) => name === "model")!.origin!.base!.uri, merged.manifest.name);

  writeFileSync(join(first.directory, "adapter_config.json"), `${readFileSync(join(first.directory, "adapter_config.json"), "utf8")} `);
  await assert.rejects(verified(second.uri), /the first: .*\/adapter_config\.json$/);
  await assert.rejects(run(first.uri, 4, false), /a file of the published model is not what its manifest says.*file=adapter_config\.json/);
});
