import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { createHash } from "node:crypto";
import { download } from "../../../activities/download/download.js";
import { modelConfig } from "../../../activities/download/model-config.js";
import { selectModelFiles } from "../../../activities/download/select.js";
import { planLocal, planRemote } from "../../../activities/download/source-plan.js";
import { parseSource } from "../../../core/config/source-ref.js";
import { outputNamed } from "../../../core/stages/results.js";
import { artifactOf } from "../../../infra/disk/files.js";
import { readTokenizer } from "../../../infra/text/read-tokenizer.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { openStore } from "../../../infra/store/open-store.js";
import { startTestS3 } from "../../infra/store/weed.js";
import { floats, gguf, value } from "../../core/format/gguf-writer.js";
import { dependenciesFor, HUB, requestFor } from "./dependencies.js";
import { pathOf, setUp } from "./fixture.js";

const LLAMA = join(import.meta.dirname, "../../../../test/reference/gguf-files/llama.gguf");
const BYTES = readFileSync(LLAMA);
const SHA256 = createHash("sha256").update(BYTES).digest("hex");
const never = new AbortController().signal;
const NAMES = [
  "chat_template.jinja",
  "config.json",
  "generation_config.json",
  "model.safetensors",
  "tokenizer.json",
  "tokenizer_config.json",
];

test("a GGUF on this machine is converted, once, and again when it has changed or its files have", async (context) => {
  const { server, run } = await setUp(context);
  const path = join(server.work, "my model.gguf");
  copyFileSync(LLAMA, path);
  const config = { model: { source: pathToFileURL(path).href }, dataset: HUB.dataset };
  const result = await run(config);
  const model = outputNamed(result.outputs, "model");
  assert.deepEqual(readdirSync(pathOf(result, "model")).sort(), NAMES);
  assert.deepEqual(model.origin, { uri: "my model.gguf", gguf: { file: "my model.gguf", sha256: SHA256 } });
  assert.equal(model.sha256, (await artifactOf("model", pathOf(result, "model"))).sha256);
  assert.equal(result.metrics.modelFrom, "my model.gguf");
  new ModelFiles(pathOf(result, "model")).close();
  assert.equal(readTokenizer(pathOf(result, "model")).bosToken, "<s>");
  const file = (): number => statSync(join(pathOf(result, "model"), "model.safetensors")).ino;
  const before = file();
  assert.equal((await run(config)).reused, true);
  assert.equal(file(), before, "it was not converted again");
  writeFileSync(join(pathOf(result, "model"), "config.json"), "{}");
  assert.deepEqual(outputNamed((await run(config)).outputs, "model"), model);
  // other words in the template: another file, another model
  const at = BYTES.indexOf("{{ eos_token }}");
  writeFileSync(path, Buffer.concat([BYTES.subarray(0, at), Buffer.from("{{ bos_token }}"), BYTES.subarray(at + 15)]));
  assert.notEqual(outputNamed((await run(config)).outputs, "model").sha256, model.sha256);
});

test("a repository with one GGUF is that model, and of several one is named", async (context) => {
  const { server, run } = await setUp(context);
  const place = join(server.root, "models/org/g");
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, "README.md"), "not needed");
  writeFileSync(join(place, "m-Q8_0.gguf"), BYTES);
  const result = await run({ ...HUB, model: { source: "hf://org/g" } });
  const { origin } = outputNamed(result.outputs, "model");
  assert.match(origin!.uri, /^hf:\/\/org\/g@[0-9a-f]{40}$/);
  assert.deepEqual(origin!.gguf, { file: "m-Q8_0.gguf", sha256: SHA256 });
  assert.deepEqual(readdirSync(pathOf(result, "model")).sort(), NAMES);
  assert.equal((await run({ ...HUB, model: { source: "hf://org/g" } })).reused, true);
  writeFileSync(join(place, "m-F16.gguf"), "other");
  await assert.rejects(run({ ...HUB, model: { source: "hf://org/g" } }), {
    name: "UserError",
    message: /several GGUF files: name one of them in the source \[source=hf:\/\/org\/g, files=m-F16\.gguf, m-Q8_0\.gguf\]/,
  });
  const named = await run({ ...HUB, model: { source: "hf://org/g@main/m-Q8_0.gguf" } });
  assert.deepEqual(outputNamed(named.outputs, "model").origin!.gguf!.file, "m-Q8_0.gguf");
  await assert.rejects(run({ ...HUB, model: { source: "hf://org/g/m-Q4_0.gguf" } }), /is not there \[.*files=m-F16\.gguf, m-Q8_0\.gguf\]/);
  await assert.rejects(run({ ...HUB, dataset: { source: "hf://org/d/m.gguf" } }), /a dataset's source names a GGUF/);
});

test("a header on the hub is looked at before the file is fetched", async (context) => {
  const { server, run } = await setUp(context);
  const place = join(server.root, "models/org/g");
  mkdirSync(place, { recursive: true });
  // 4 MB of a model that is not read
  const bert = gguf([["general.architecture", value.text("bert")]], [floats("x", [1 << 20])]);
  writeFileSync(join(place, "bert.gguf"), bert);
  await assert.rejects(run({ ...HUB, model: { source: "hf://org/g" } }), {
    name: "UserError",
    message: /architecture that is not read.*\[file=bert\.gguf of org\/g at [0-9a-f]{12}, expected=llama, got=bert\]/,
  });
  assert.ok(server.sent < 3 << 20, `${server.sent} bytes sent`);
  const places = dependenciesFor(server.url, server.work);
  writeFileSync(join(place, "bert.gguf"), BYTES);
  server.sent = 0;
  const plan = await planRemote(places, "model", "hf://org/g", null, never);
  const { model, names, bytes } = await modelConfig(plan, never);
  assert.deepEqual(
    [model.shape.type, model.shape.layers, names!.toSorted()],
    ["llama", 2, NAMES.filter((name) => name !== "model.safetensors")],
  );
  assert.ok(bytes > BYTES.length, "the converted weights");
});

test("a GGUF in a bucket is a model, named or alone below its prefix", async (context) => {
  const { server, run } = await setUp(context);
  const s3 = await startTestS3();
  context.after(() => s3.stop());
  await openStore("s3://roslin/ggufs", s3.settings).write("m.gguf", BYTES);
  const places = dependenciesFor(server.url, server.work, s3.settings);
  const digests = [];
  for (const source of ["s3://roslin/ggufs", "s3://roslin/ggufs/m.gguf"]) {
    const request = requestFor({ ...HUB, model: { source } }, server.work);
    const { outputs } = await download(places, request, { signal: never, progress: () => undefined });
    const { sha256, origin } = outputNamed(outputs, "model");
    assert.deepEqual(origin, { uri: source, gguf: { file: "m.gguf", sha256: SHA256 } });
    digests.push(sha256);
  }
  assert.equal(digests[0], digests[1]);
  const { outputs } = await run({ ...HUB, model: { source: pathToFileURL(LLAMA).href } });
  assert.equal(outputNamed(outputs, "model").sha256, digests[0], "wherever it came from");
});

test("a download that is broken off is gone on with, and a conversion that was is made again", async (context) => {
  const { server, run } = await setUp(context);
  const place = join(server.root, "models/org/g");
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, "m.gguf"), BYTES);
  const config = { ...HUB, model: { source: "hf://org/g" } };
  const first = await run(config);
  const view = pathOf(first, "model");
  // what a kill in the middle leaves: a half directory, and no record
  renameSync(view, `${view}.tmp`);
  rmSync(join(view, "../converted.json"));
  rmSync(join(`${view}.tmp`, "tokenizer.json"));
  const second = await run(config);
  assert.deepEqual(second.outputs, first.outputs);
  assert.deepEqual(
    readdirSync(join(view, "..")).filter((name) => name.startsWith("model")),
    [view.split("/").at(-1)],
  );
});

test("a damaged GGUF is refused, and a source that is not one", async (context) => {
  const { server, run } = await setUp(context);
  const path = join(server.work, "cut.gguf");
  writeFileSync(path, BYTES.subarray(0, -1));
  const source = pathToFileURL(path).href;
  await assert.rejects(run({ ...HUB, model: { source } }), {
    name: "UserError",
    message: /^the model cannot be used: a tensor of a GGUF lies beyond the end of its file.*cut\.gguf.*Get the file again$/,
  });
  const other = join(server.work, "model.bin");
  writeFileSync(other, "x");
  const local = { findPublished: async (): Promise<null> => null };
  await assert.rejects(planLocal(local, "model", pathToFileURL(other).href), /or a GGUF file/);
});

test("GGUF files count only where no other weights are", () => {
  assert.deepEqual(selectModelFiles(["config.json", "model.safetensors", "m.gguf"], "m"), ["config.json", "model.safetensors"]);
  assert.deepEqual(selectModelFiles(["config.json", "M.GGUF"], "m"), ["M.GGUF"]);
  assert.throws(() => selectModelFiles(["old/m.gguf"], "m"), /a model needs config\.json/);
});

test("a GGUF is named after a repository as Hugging Face's paths have it", () => {
  const hub = (id: string, revision: string, file?: string): object => ({
    kind: "hub",
    id,
    revision,
    ...(file === undefined ? {} : { file }),
  });
  assert.deepEqual(parseSource("hf://o/n/a.gguf"), hub("o/n", "main", "a.gguf"));
  assert.deepEqual(parseSource("hf://o/n@refs/pr/1/a b.gguf"), hub("o/n", "refs/pr/1", "a b.gguf"));
  assert.deepEqual(parseSource("hf://o/n.gguf"), hub("o/n.gguf", "main"));
  for (const wrong of ["hf://o/n/x/a.gguf", "hf://o/n/../a.gguf", "hf://o/n/a.bin"])
    assert.throws(() => parseSource(wrong), /a hub source is malformed.*for a GGUF with \/file\.gguf after it/);
});
