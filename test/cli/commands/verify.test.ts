import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { download } from "../../../activities/download/download.js";
import { publish } from "../../../activities/publish/publish.js";
import type { StageRequest } from "../../../activities/common/stage.js";
import { verify } from "../../../cli/commands/verify.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { CHECKOUT, readEnvironment } from "../../../workers/environment.js";
import { CorruptError, UserError } from "../../../core/errors.js";
import { checkChain } from "../../../core/format/manifest.js";
import { outputNamed } from "../../../core/stages/results.js";
import { directoryDigest, sha256 } from "../../../infra/disk/files.js";
import { openPublished } from "../../../infra/sources/published.js";
import { dependenciesFor } from "../../activities/download/dependencies.js";
import { leave } from "../../activities/common/made-stages.js";
import { finishedRun, publishDependencies } from "../../activities/publish/run.js";
import { evaluateDefinition } from "../../../activities/evaluate/definition.js";
import { preprocessDefinition } from "../../../activities/preprocess/definition.js";
import { trainDefinition } from "../../../activities/train/definition.js";

const root = mkdtempSync(join(tmpdir(), "roslin-verify-"));
after(() => rmSync(root, { recursive: true }));
const environment = readEnvironment({ ROSLIN_HOME: join(root, "home") }, CHECKOUT);

async function published(): Promise<{ target: string; uri: string; stages: string; place: string }> {
  const place = mkdtempSync(join(root, "run-"));
  const target = pathToFileURL(join(place, "target")).href;
  const request = await finishedRun(place, target);
  const result = await publish(publishDependencies(), request, { signal: new AbortController().signal, progress: () => undefined });
  return { target, uri: outputNamed(result.outputs, "published").uri, stages: request.root, place };
}

test("a published model holds, by its address, by its target's, and by its directory", async () => {
  const { target, uri } = await published();
  for (const run of [uri, `${uri}/`, target, `${target}/latest.json`, fileURLToPath(uri)])
    assert.equal(await verify.run([run], environment), 0);
});

test("the stages of a run hold, each output and what the manifest says of it, until one is changed", async () => {
  const { stages, place } = await published();
  assert.equal(await verify.run([stages], environment), 0);
  appendFileSync(join(place, "rows.json"), " ");
  await assert.rejects(verify.run([stages], environment), /1 of \d+ links are broken, the first: download's output dataset/);
});

/** The whole run of `request` again from other sources, whose later stages leave what those of the tests' run left; resolves to what it published. */
async function retrained(request: StageRequest, place: string, model: string, rows: string): Promise<string> {
  const sources = { model: { source: model }, dataset: { source: pathToFileURL(rows).href } };
  const config = parseRunConfig({ ...request.config, ...sources });
  const context = { signal: new AbortController().signal, progress: () => undefined };
  const downloaded = await download(dependenciesFor("http://127.0.0.1:9", place), { ...request, config, inputs: [] }, context);
  const inputs = request.inputs.map((input) => downloaded.outputs.find(({ name }) => name === input.name) ?? input);
  const again = { ...request, config, inputs };
  const output = (name: string) => outputNamed(inputs, name);
  for (const [definition, outputs] of [
    [preprocessDefinition, [output("tokens")]],
    [trainDefinition, [output("tuned")]],
    [evaluateDefinition, [output("report")]],
  ] as const) {
    await leave(definition, again, { outputs });
  }
  return outputNamed((await publish(publishDependencies(), again, context)).outputs, "published").uri;
}

/** What `roslin verify` prints of a run that holds. */
async function saidOf(run: string): Promise<string[]> {
  const lines: string[] = [];
  const { log } = console;
  console.log = (line: string) => void lines.push(line);
  try {
    assert.equal(await verify.run([run], environment), 0, lines.join("\n"));
  } finally {
    console.log = log;
  }
  return lines;
}

test("of the runs of a schedule each model holds, whose rows have changed since too", async () => {
  const place = mkdtempSync(join(root, "weekly-"));
  const request = await finishedRun(place, pathToFileURL(join(place, "target")).href);
  rmSync(request.root, { recursive: true });
  let lines: string[] = [];
  for (const rows of ["[]", '[{"instruction":"next week"}]']) {
    writeFileSync(join(place, "rows.json"), rows);
    await retrained(request, place, pathToFileURL(join(place, "base")).href, join(place, "rows.json"));
    lines = await saidOf(request.root);
  }
  const past = lines.filter((line) => line.startsWith("past"));
  assert.deepEqual(past, ["past    download's record of dataset: not kept here any more, for a later run has other data"]);
  assert.match(lines.at(-1)!, /^all \d+ links that are kept here hold$/);
});

test("a stage's record that the manifest contradicts is named", async () => {
  const { stages } = await published();
  const [key] = readdirSync(join(stages, "preprocess"));
  const path = join(stages, "preprocess", key!, "stage.json");
  writeFileSync(path, readFileSync(path, "utf8").replace(/"sha256": "./, '"sha256": "x'));
  await assert.rejects(verify.run([stages], environment), /preprocess's output tokens/);
});

test("a changed file is named", async () => {
  const { uri } = await published();
  appendFileSync(join(fileURLToPath(uri), "model.safetensors"), "x");
  await assert.rejects(
    verify.run([uri], environment),
    (error) => error instanceof CorruptError && /1 of \d+ links are broken.*model\.safetensors/.test(error.message),
  );
});

/** Publishes a model that was tuned from the latest one of `target`, with the tuned weights of the tests' run. */
async function descendant(target: string): Promise<string> {
  const place = mkdtempSync(join(root, "next-"));
  const request = await finishedRun(place, target);
  const config = parseRunConfig({
    ...request.config,
    model: { source: `${target}/latest.json` },
    dataset: { source: pathToFileURL(join(place, "rows.json")).href },
  });
  const context = { signal: new AbortController().signal, progress: () => undefined };
  const downloaded = await download(dependenciesFor("http://127.0.0.1:9", place), { ...request, config, inputs: [] }, context);
  const inputs = request.inputs.map((input) => downloaded.outputs.find(({ name }) => name === input.name) ?? input);
  const result = await publish(publishDependencies(), { ...request, config, inputs }, context);
  return outputNamed(result.outputs, "published").uri;
}

test("the chain of a model that was tuned from a published one reaches through to that one's files", async () => {
  const { target, uri } = await published();
  const next = await descendant(target);
  assert.equal(await verify.run([next], environment), 0);
  const { manifest } = await openPublished(next, {});
  assert.equal(manifest.chain[0]!.outputs[0]!.origin!.uri, uri.split("/").at(-1));
  appendFileSync(join(fileURLToPath(uri), "evaluation.json"), " ");
  await assert.rejects(verify.run([next], environment), new RegExp(`1 of .* broken, the first: ${uri}/evaluation.json`));
  appendFileSync(join(fileURLToPath(uri), "manifest.json"), "\n");
  await assert.rejects(verify.run([next], environment), new RegExp(`the first: base model ${uri}`));
  rmSync(fileURLToPath(uri), { recursive: true });
  await assert.rejects(verify.run([next], environment), new RegExp(`the first: base model ${uri}`));
});

test("of generations whose stages lie together each file is read once, and each link to a base is checked", async () => {
  const place = mkdtempSync(join(root, "generations-"));
  const target = pathToFileURL(join(place, "target")).href;
  const request = await finishedRun(place, target);
  rmSync(request.root, { recursive: true });
  const uris: string[] = [];
  for (let generation = 0; generation < 4; generation++) {
    const rows = join(place, `rows-${generation}.json`);
    writeFileSync(rows, `[${generation}]`);
    const model = generation === 0 ? pathToFileURL(join(place, "base")).href : `${target}/latest.json`;
    uris.push(await retrained(request, place, model, rows));
  }
  const lines = await saidOf(request.root);
  for (const uri of uris) assert.equal(lines.filter((line) => line.endsWith(`${uri}/model.safetensors`)).length, 1);
  for (const base of uris.slice(0, -1)) assert.equal(lines.filter((line) => line === `ok      base model ${base}`).length, 1);
  appendFileSync(join(fileURLToPath(uris[0]!), "evaluation.json"), " ");
  await assert.rejects(verify.run([request.root], environment), new RegExp(`1 of .* broken, the first: ${uris[0]}/evaluation.json`));
});

test("a descendant holds after a second training came to the same as its base", async () => {
  const { target, uri } = await published();
  const next = await descendant(target);
  const manifest = readFileSync(join(fileURLToPath(uri), "manifest.json"));
  const request = await finishedRun(mkdtempSync(join(root, "twin-")), target, true, {}, { wallSeconds: 21 });
  const context = { signal: new AbortController().signal, progress: () => undefined };
  assert.equal(outputNamed((await publish(publishDependencies(), request, context)).outputs, "published").uri, uri);
  assert.deepEqual(readFileSync(join(fileURLToPath(uri), "manifest.json")), manifest);
  assert.equal(await verify.run([next], environment), 0);
});

test("a published model with a changed file is no base", async () => {
  const { target, uri } = await published();
  const model = join(fileURLToPath(uri), "model.safetensors");
  const bytes = readFileSync(model);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(model, bytes);
  await assert.rejects(
    descendant(target),
    /UserError: a file of the published model is not what its manifest says.*file=model\.safetensors/,
  );
});

test("a removed file is named", async () => {
  const { uri } = await published();
  rmSync(join(fileURLToPath(uri), "README.md"));
  await assert.rejects(verify.run([uri], environment), /README\.md/);
});

test("a manifest that latest.json doesn't know is refused", async () => {
  const { target, uri } = await published();
  appendFileSync(join(fileURLToPath(uri), "manifest.json"), "\n");
  await assert.rejects(verify.run([target], environment), /not the one that latest\.json names/);
});

test("every broken link of a chain is told from the sound ones", async () => {
  const { uri } = await published();
  const { manifest } = await openPublished(uri, {});
  const digests = { sha256, directoryDigest };
  assert.ok(checkChain(manifest, digests).every(({ problem }) => problem === null));
  assert.ok(checkChain(manifest, digests, "a-copy-of-it").every(({ problem }) => problem === null));
  const brokenBy = (change: (copy: typeof manifest) => void): string[] => {
    const copy = structuredClone(manifest);
    change(copy);
    return checkChain(copy, digests).flatMap(({ link, problem }) => (problem === null ? [] : [link]));
  };
  const other = sha256("another");
  assert.deepEqual(
    brokenBy(({ chain }) => void (chain[2]!.settings = { learningRate: 1 })),
    ["train's settings", "the model's name"],
  );
  assert.deepEqual(
    brokenBy(({ chain }) => void (chain[0]!.outputs[1]!.sha256 = other)),
    ["preprocess's input dataset", "the model's name"],
  );
  assert.deepEqual(
    brokenBy(({ chain }) => void (chain[2]!.outputs[0]!.sha256 = other)),
    ["evaluate's input tuned", "the trained model", "the model's name"],
  );
  assert.deepEqual(
    brokenBy(({ files }) => void (files.find(({ name }) => name === "config.json")!.sha256 = other)),
    ["published config.json"],
  );
});

test("a run is named, and exists", async () => {
  await assert.rejects(verify.run([], environment), UserError);
  await assert.rejects(verify.run([join(root, "nowhere")], environment), UserError);
  await assert.rejects(verify.run([pathToFileURL(join(root, "nowhere")).href], environment), /nothing is published there/);
});
