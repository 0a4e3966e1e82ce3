import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { rename } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { outputNamed } from "../../../core/stages/results.js";
import { artifactOf } from "../../../infra/disk/files.js";
import { REFERENCE } from "../../core/model/reference.js";
import { openStore } from "../../../infra/store/open-store.js";
import { byteTokenizer } from "../preprocess/helpers.js";
import { startTestS3 } from "../../infra/store/weed.js";
import { startTestHub } from "../../infra/sources/hub/harness.js";
import { HUB, requestFor, dependenciesFor } from "./dependencies.js";
import { pathOf, ROWS } from "./fixture.js";
import { download } from "../../../activities/download/download.js";
import type { StageResult } from "../../../core/stages/results.js";
import type { TestContext } from "node:test";

/** Adapters as sources: PEFT's own for a small base, on a hub and on this machine. */

const BASE = join(REFERENCE, "gptj-odd");
const ADAPTER = join(REFERENCE, "lora/gptj-list/final");
const LORA = { method: "lora", lora: { rank: 4, alpha: 8, targets: ["q_proj", "v_proj"] } };
const read = (directory: string, name: string): Buffer => readFileSync(join(directory, name));
const configWith = (fields: object): string =>
  JSON.stringify({ ...(JSON.parse(read(ADAPTER, "adapter_config.json").toString()) as object), ...fields });

const BASE_FILES = ["config.json", "model.safetensors"];

interface Place {
  readonly work: string;
  /** The hub cannot be reached any more, and its cache is gone. */
  lose(): Promise<void>;
  run(source: string, train?: object, prompt?: string): Promise<StageResult<"download">>;
}

async function place(t: TestContext, files: Readonly<Record<string, string | Buffer>> = {}): Promise<Place> {
  const server = await startTestHub({
    ...Object.fromEntries(BASE_FILES.map((name) => [`models/org/m/${name}`, read(BASE, name)])),
    "models/org/a/adapter_config.json": configWith({ base_model_name_or_path: "org/m", revision: "main" }),
    "models/org/a/adapter_model.safetensors": read(ADAPTER, "adapter_model.safetensors"),
    "datasets/org/d/data/rows.json": ROWS,
    ...files,
  });
  t.after(() => server.close());
  let { url } = server;
  return {
    work: server.work,
    async lose() {
      url = "http://127.0.0.1:9";
      await rename(join(server.work, "hub"), join(server.work, "lost"));
    },
    run: (source, train = LORA, prompt = "dolly") =>
      download(dependenciesFor(url, server.work), requestFor({ ...HUB, model: { source }, train, preprocess: { prompt } }, server.work), {
        signal: new AbortController().signal,
        progress: () => undefined,
      }),
  };
}

/** A directory on this machine with PEFT's adapter, whose config has other fields. */
function localAdapter(work: string, fields: object, name = "my adapter"): string {
  const directory = join(work, name);
  mkdirSync(directory, { recursive: true });
  cpSync(ADAPTER, directory, { recursive: true });
  writeFileSync(join(directory, "adapter_config.json"), configWith(fields));
  return pathToFileURL(directory).href;
}

const BOTH = ["adapter_config.json", "adapter_model.safetensors", "config.json", "model.safetensors"];

test("an adapter on the hub comes with its base, in one directory whose digest is that of all its files", async (t) => {
  const { run, lose } = await place(t);
  const result = await run("hf://org/a");
  const model = outputNamed(result.outputs, "model");
  const directory = pathOf(result, "model");
  assert.deepEqual(readdirSync(directory).sort(), BOTH);
  assert.deepEqual({ ...(await artifactOf("model", directory)), origin: model.origin }, model);
  assert.match(model.origin!.uri, /^hf:\/\/org\/a@[0-9a-f]+$/);
  assert.match(model.origin!.base!.uri, /^hf:\/\/org\/m@[0-9a-f]+$/);
  assert.deepEqual(
    model.origin!.base!.files.map(({ name }) => name),
    BASE_FILES,
  );
  assert.equal((await run("hf://org/a")).reused, true);
  // what a finished download left stands in for a hub that cannot be reached
  await lose();
  assert.equal((await run("hf://org/a")).reused, true);
});

test("an adapter on this machine names its base by the hub's name, by a path or by a URL, and changes when it does", async (t) => {
  const { run, work, lose } = await place(t);
  const bases = ["org/m", BASE, pathToFileURL(BASE).href];
  const digests = [];
  for (const base of bases) {
    const result = await run(localAdapter(work, { base_model_name_or_path: base }, `adapter of ${bases.indexOf(base)}`));
    digests.push(outputNamed(result.outputs, "model").origin!.base!.files.find(({ name }) => name === "model.safetensors")!.sha256);
    assert.deepEqual(
      readdirSync(pathOf(result, "model"))
        .filter((name) => BOTH.includes(name))
        .sort(),
      BOTH,
    );
  }
  assert.equal(new Set(digests).size, 1);
  const again = localAdapter(work, { base_model_name_or_path: "org/m", lora_dropout: 0.5 }, "adapter of 0");
  const changed = await run(again);
  assert.equal(changed.reused, false);
  await lose();
  assert.equal((await run(again)).reused, true);
  localAdapter(work, { base_model_name_or_path: "org/m" }, "adapter of 0");
  await assert.rejects(run(again), { name: "UnreachableError", message: /base cannot be reached, and the adapter is another one/ });
});

test("what cannot be trained of an adapter is said before its base's weights are fetched", async (t) => {
  const { run, work } = await place(t, {
    "models/org/stacked/adapter_config.json": configWith({ base_model_name_or_path: "org/a" }),
    "models/org/stacked/adapter_model.safetensors": read(ADAPTER, "adapter_model.safetensors"),
    "models/org/path/adapter_config.json": configWith({ base_model_name_or_path: "/home/somebody/model" }),
    "models/org/path/adapter_model.safetensors": "",
    "models/org/both/adapter_config.json": configWith({}),
    "models/org/both/adapter_model.safetensors": "",
    "models/org/both/model.safetensors": "",
    "models/org/pickle/adapter_config.json": configWith({}),
    "models/org/pickle/adapter_model.bin": "",
  });
  const refused = async (source: string, message: RegExp, train: object = LORA): Promise<void> =>
    assert.rejects(run(source, train), { name: "UserError", message });
  await refused("hf://org/a", /the model is an adapter, and train\.method "full" trains whole models: .*publish\.merge/, {});
  await refused("hf://org/a", /train\.lora is not as the adapter was made .*expected=rank 4, scale 2, got=rank 2/, {
    method: "lora",
    lora: { rank: 2 },
  });
  await refused("hf://org/m", /a target in train\.lora\.targets matches no linear layer.*got=query/, {
    method: "lora",
    lora: { targets: ["query"] },
  });
  await refused("hf://org/stacked", /base of the adapter is an adapter itself: publish that one with publish\.merge.*base=hf:\/\/org\/a/);
  await refused("hf://org/path", /names as its base a directory of the machine where it was made.*got=\/home\/somebody\/model/);
  await refused("hf://org/both", /holds a whole model and an adapter/);
  await refused("hf://org/pickle", /an adapter needs adapter_model\.safetensors.*got=adapter_model\.bin/);
  await refused(localAdapter(work, { base_model_name_or_path: null }), /does not name its base: set base_model_name_or_path/);
  await refused(localAdapter(work, { base_model_name_or_path: "a/b/c" }), /names no base that Roslin finds.*got=a\/b\/c/);
  await refused(localAdapter(work, { base_model_name_or_path: "org/m", use_dora: true }), /not one that Roslin reads: use_dora/);
  const other = localAdapter(work, { base_model_name_or_path: "org/m", r: 3 }, "other");
  await refused(other, /the adapter is for another base.*expected=\[3,/, { method: "lora", lora: { ...LORA.lora, rank: 3, alpha: 8 } });
  writeFileSync(join(work, "other", "adapter_model.safetensors"), "");
  await refused(other, /the adapter cannot be used: /, { method: "lora", lora: { ...LORA.lora, rank: 3, alpha: 8 } });
  assert.ok(
    !readdirSync(work, { recursive: true }).some((path) => String(path).includes("model.safetensors") && !String(path).includes("adapter")),
  );
});

test("an adapter whose tokenizer gives other ids than its base's is refused; one that only writes merges as pairs is not", async (t) => {
  const tokenizer = (words: object, merges: unknown[]): string => JSON.stringify({ model: { vocab: words, merges }, added_tokens: [] });
  const { run, work } = await place(t, { "models/org/m/tokenizer.json": tokenizer({ a: 0, b: 1, ab: 2 }, ["a b"]) });
  const source = localAdapter(work, { base_model_name_or_path: "org/m" });
  const own = join(work, "my adapter", "tokenizer.json");
  writeFileSync(own, tokenizer({ a: 0, b: 1, ab: 2 }, [["a", "b"]]));
  const got = await run(source);
  assert.deepEqual(readdirSync(pathOf(got, "model")).sort(), [...BOTH, "tokenizer.json"].sort());
  // as a GGUF's vocabulary has added tokens in it
  writeFileSync(own, JSON.stringify({ model: { vocab: { a: 0, b: 1 }, merges: ["a b"] }, added_tokens: [{ id: 2, content: "ab" }] }));
  await run(source);
  writeFileSync(own, tokenizer({ a: 0, b: 1, ab: 3 }, ["a b"]));
  await assert.rejects(run(source), /the adapter's tokenizer gives other ids than its base's.*file=tokenizer\.json/);
});

test("an adapter whose chat template is not its base's is refused where that template would be used", async (t) => {
  const { run, work } = await place(t, {
    "models/org/m/tokenizer.json": JSON.stringify(byteTokenizer),
    "models/org/m/tokenizer_config.json": JSON.stringify({
      chat_template: "{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}",
      eos_token: "<|endoftext|>",
    }),
  });
  const source = localAdapter(work, { base_model_name_or_path: "org/m" });
  await run(source, LORA, "chat");
  writeFileSync(join(work, "my adapter", "chat_template.jinja"), "{{ 2 }}");
  await run(source);
  await assert.rejects(run(source, LORA, "chat"), {
    message: /the adapter's chat template is another one than its base's/,
  });
});

test("an adapter in a bucket comes with its base in the bucket", async (t) => {
  const server = await startTestS3();
  t.after(() => server.stop());
  const store = openStore("s3://roslin/things", server.settings);
  for (const name of BASE_FILES) await store.write(`base/${name}`, read(BASE, name));
  await store.write("mine/adapter_config.json", Buffer.from(configWith({ base_model_name_or_path: "s3://roslin/things/base" })));
  await store.write("mine/adapter_model.safetensors", read(ADAPTER, "adapter_model.safetensors"));
  const work = mkdtempSync(join(tmpdir(), "roslin-bucket-"));
  t.after(() => rmSync(work, { recursive: true }));
  writeFileSync(join(work, "rows.json"), ROWS);
  const dataset = { source: pathToFileURL(join(work, "rows.json")).href };
  const config = { model: { source: "s3://roslin/things/mine" }, dataset, train: LORA };
  const context = { signal: new AbortController().signal, progress: () => undefined };
  const result = await download(dependenciesFor("http://127.0.0.1:9", work, server.settings), requestFor(config, work), context);
  const { origin } = outputNamed(result.outputs, "model");
  assert.deepEqual([origin!.uri, origin!.base!.uri], ["s3://roslin/things/mine", "s3://roslin/things/base"]);
  assert.deepEqual(readdirSync(pathOf(result, "model")).sort(), BOTH);
});

test("a base on this machine that is another one by now is not taken for that of an adapter", async (t) => {
  const server = await startTestHub({});
  t.after(() => server.close());
  const { work } = server;
  const base = join(work, "base");
  mkdirSync(base);
  for (const name of BASE_FILES) writeFileSync(join(base, name), read(BASE, name));
  writeFileSync(join(work, "rows.json"), ROWS);
  const places = dependenciesFor("http://127.0.0.1:9", work);
  const dataset = { source: pathToFileURL(join(work, "rows.json")).href };
  const context = { signal: new AbortController().signal, progress: () => undefined };
  const run = (source: string): Promise<StageResult<"download">> =>
    download(places, requestFor({ model: { source }, dataset, train: LORA }, work), context);
  const { sha256 } = outputNamed((await run(pathToFileURL(base).href)).outputs, "model");
  // as training leaves it
  const left = join(work, "stages", "train", "0");
  mkdirSync(left, { recursive: true });
  writeFileSync(join(left, "wanted.json"), JSON.stringify({ stage: "train", inputs: [{ name: "model", sha256 }] }));
  const adapter = localAdapter(left, { base_model_name_or_path: null }, "model");
  const view = pathOf(await run(adapter), "model");
  assert.deepEqual(readdirSync(view).sort(), BOTH);
  // one trained on this adapter has the digest of both
  const { sha256: both } = await artifactOf("model", view);
  writeFileSync(join(left, "wanted.json"), JSON.stringify({ stage: "train", inputs: [{ name: "model", sha256: both }] }));
  assert.equal(outputNamed((await run(adapter)).outputs, "model").sha256, both);
  const weights = read(BASE, "model.safetensors");
  weights[weights.length - 1]! ^= 1;
  writeFileSync(join(base, "model.safetensors"), weights);
  await assert.rejects(run(adapter), { name: "UserError", message: /the adapter's base is not the model that the adapter was made on/ });
});
