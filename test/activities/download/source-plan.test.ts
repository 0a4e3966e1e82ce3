import assert from "node:assert/strict";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { localFiles, planLocal, planRemote } from "../../../activities/download/source-plan.js";
import type { Remote } from "../../../infra/sources/remote.js";

const never = new AbortController().signal;

/** A bucket that holds these files wherever one looks. */
function bucketOf(...paths: string[]): Parameters<typeof planRemote>[0] {
  const files = paths.map((path) => ({ path, bytes: 1, digest: { kind: "etag", hex: "e" } as const }));
  const remote: Remote = {
    origin: { uri: "s3://b/x" },
    title: "x",
    version: "v",
    files,
    start: async () => null,
    stated: async (files) => files,
    missing: async () => 0,
    checkSpace: async () => undefined,
    fetch: async () => [],
  };
  return { hub: { resolve: async () => remote }, buckets: { open: async () => remote } };
}

async function planned(source: string, ...paths: string[]): Promise<readonly string[]> {
  const plan = await planRemote(bucketOf(...paths), "dataset", source, null, never);
  assert.ok(plan.kind === "remote");
  return plan.files.map(({ path }) => path);
}

test("an object that its source names is taken, whatever its name says of splits", async () => {
  assert.deepEqual(await planned("s3://b/x/test.jsonl", "test.jsonl"), ["test.jsonl"]);
  await assert.rejects(planned("s3://b/x", "test.jsonl"), /for tests/);
  await assert.rejects(planned("s3://b/x/test.txt", "test.txt"), /needs a data file/);
});

const work = mkdtempSync(join(tmpdir(), "roslin-plan-"));
after(() => rmSync(work, { recursive: true, force: true }));

let directories = 0;
/** A directory with these files, and its URL with a choice at its end. */
function directoryOf(files: Readonly<Record<string, string>>): { readonly path: string; source(choice?: string): string } {
  const path = join(work, `d ${++directories}`);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  return { path, source: (choice = "") => `${pathToFileURL(path).href}${choice}` };
}

/** The same files as a directory and as objects of a bucket: what is taken of each, or an error's message. */
async function taken(files: Readonly<Record<string, string>>, choice = ""): Promise<string> {
  const { path, source } = directoryOf(files);
  const local = await localFiles("dataset", source(choice)).then(
    (paths) => paths.map((each) => each.slice(path.length + 1)).join(" "),
    (error: Error) => error.message,
  );
  const remote: Remote = {
    origin: { uri: "s3://b/x" },
    title: "x",
    version: "v",
    files: Object.entries(files).map(([name, text]) => ({ path: name, bytes: text.length, digest: { kind: "etag", hex: "e" } })),
    start: async () => null,
    stated: async (wanted) => wanted,
    missing: async () => 0,
    checkSpace: async () => undefined,
    fetch: async (wanted) =>
      wanted.map((file) => ({ path: file.path, blob: join(path, file.path), sha256: "", bytes: file.bytes, fetched: file.bytes })),
  };
  const places = { hub: { resolve: async () => remote }, buckets: { open: async () => remote } };
  const bucket = await planRemote(places, "dataset", `s3://b/x${choice}`, null, never).then(
    (plan) => (plan.kind === "remote" ? plan.files.map((file) => file.path).join(" ") : plan.kind),
    (error: Error) => error.message,
  );
  const bare = (text: string): string => text.replace(/source=[^,\]]*?(?=[,\]])/, "source=…");
  assert.equal(bare(bucket), bare(local));
  return local;
}

const CARD = "---\nconfigs:\n- config_name: de\n  data_files: de/**\n- config_name: en\n  data_files: [en/b.json, en/a.json]\n---\n";

test("the card decides, for a directory and for a bucket, and its files keep their order", async () => {
  const files = { "README.md": CARD, "de/train/0000.json": "[]", "en/a.json": "[]", "en/b.json": "[]", "en/c.json": "[]" };
  assert.match(await taken(files), /several configurations.*configurations=de, en/);
  assert.equal(await taken(files, "?config=en"), "en/b.json en/a.json");
  assert.equal(await taken(files, "?config=de&split=train"), "de/train/0000.json");
  assert.match(await taken(files, "?config=fr"), /configurations=de, en, got=fr/);
  const one = "---\nconfigs:\n- config_name: default\n  data_files: a.json\n---\n";
  assert.equal(await taken({ "README.md": one, "a.json": "[]", "a_archive.json": "[]" }), "a.json");
  assert.equal(
    await taken({ "README.md": CARD, ".huggingface.yaml": one.replaceAll("---\n", ""), "a.json": "[]" }),
    "a.json",
    "the standalone file wins",
  );
  assert.match(await taken({ "README.md": one.replace("a.json", "b.json"), "a.json": "[]" }), /matches no file.*pattern=b\.json/);
  assert.match(await taken({ "README.md": "---\nconfigs: 3\n---\n", "a.json": "[]" }), /configs in the dataset's card cannot be used/);
});

const COMMITS = [
  '{"protocol":{"minReaderVersion":1}}\n{"metaData":{"partitionColumns":[],"format":{"provider":"parquet"}}}\n{"add":{"path":"part-0.parquet"}}\n',
  '{"remove":{"path":"part-0.parquet"}}\n{"add":{"path":"part-1.parquet"}}\n',
].map((text, version) => [`_delta_log/${String(version).padStart(20, "0")}.json`, text] as const);

test("of a Delta table the files of its current rows are taken, wherever it lies", async () => {
  const table = { ...Object.fromEntries(COMMITS), "part-0.parquet": "0", "part-1.parquet": "1" };
  assert.equal(await taken(table), "part-1.parquet");
  const below = Object.fromEntries(Object.entries(table).map(([path, text]) => [`tables/rows/${path}`, text]));
  assert.equal(await taken(below), "tables/rows/part-1.parquet");
  const two = { ...below, ...Object.fromEntries(Object.entries(table).map(([path, text]) => [`tables/others/${path}`, text])) };
  assert.match(await taken(two), /several tables.*tables=tables\/rows \(Delta\), tables\/others \(Delta\)/);
  assert.match(await taken({ ...below, "a.parquet": "" }), /a table and others.*file=a\.parquet/);
  assert.match(await taken({ "part-0.parquet": "0", [COMMITS[1]![0]]: COMMITS[1]![1] }), /Delta table.*lacks the commit of version 0/);
  const empty = '{"remove":{"path":"part-1.parquet"}}';
  assert.match(await taken({ ...table, [`_delta_log/${"2".padStart(20, "0")}.json`]: empty }), /Delta table.*it has no rows now/);
});

test("the rows of other tables are not guessed, and a table that is not chosen does no harm", async () => {
  assert.match(await taken({ "metadata/v1.metadata.json": "{}", "data/a.parquet": "0" }), /an? Iceberg table.*how=duckdb.*iceberg_scan/);
  assert.match(await taken({ "t/.hoodie/hoodie.properties": "", "t/a.parquet": "0" }), /a Hudi table.*table=t.*how=spark/);
  assert.match(await taken({ "_spark_metadata/0": "v1", "part-0.json": "0" }), /a Spark streaming table/);
  assert.equal(await taken({ "train.json": "[]", "old/metadata/v1.metadata.json": "{}", "old/data/a.parquet": "0" }), "train.json");
});

test("save_to_disk's lists decide for a directory and for a bucket", async () => {
  const state = (...names: string[]): string => JSON.stringify({ _data_files: names.map((filename) => ({ filename })) });
  const files = {
    "dataset_dict.json": '{"splits": ["train", "test"]}',
    ...{
      "train/dataset_info.json": "{}",
      "train/state.json": state("data-1.arrow", "data-0.arrow"),
      "train/data-0.arrow": "0",
      "train/data-1.arrow": "1",
    },
    ...{ "test/dataset_info.json": "{}", "test/state.json": state("data-0.arrow"), "test/data-0.arrow": "0", "train/cache-1.arrow": "1" },
  };
  assert.equal(await taken(files), "train/data-1.arrow train/data-0.arrow");
  assert.equal(await taken(files, "?split=test"), "test/data-0.arrow");
});

const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${"4d7a".repeat(16)}\nsize 2336927\n`;
const LFS = /Git LFS pointer.*git lfs pull.*realFile=2336927 bytes/;

test("a Git LFS pointer in place of any local file is named when the run is planned", async () => {
  const model = { "config.json": "{}", "model.safetensors": "w", "tokenizer.json": "{}", "vocab.json": "{}", "merges.txt": "" };
  const planned = async (name: "model" | "dataset", files: Readonly<Record<string, string>>): Promise<unknown> =>
    planLocal({ findPublished: async () => null }, name, directoryOf(files).source());
  assert.ok(await planned("model", model));
  for (const file of Object.keys(model))
    await assert.rejects(planned("model", { ...model, [file]: POINTER }), { name: "UserError", message: LFS });
  const sharded = {
    "config.json": "{}",
    "model.safetensors.index.json": '{"weight_map": {"a": "model-1.safetensors"}}',
    "model-1.safetensors": "w",
  };
  assert.ok(await planned("model", sharded));
  for (const file of Object.keys(sharded)) await assert.rejects(planned("model", { ...sharded, [file]: POINTER }), { message: LFS });
  // a file that is not needed may be one
  assert.ok(await planned("model", { ...model, "pytorch_model.bin": POINTER, "onnx/model.onnx": POINTER }));
  for (const file of ["a.jsonl", "b.jsonl", "README.md"])
    await assert.rejects(planned("dataset", { "a.jsonl": "{}", [file]: POINTER }), { message: LFS });
  await assert.rejects(planned("dataset", { "rows.csv": POINTER }), { message: /file=.*rows\.csv/ });
  const { path } = directoryOf({ "rows.csv": POINTER });
  await assert.rejects(planLocal({ findPublished: async () => null }, "dataset", pathToFileURL(join(path, "rows.csv")).href), {
    message: LFS,
  });
});

test("a source that names one file has the split train alone", async () => {
  const { path } = directoryOf({ "test.jsonl": "{}" });
  const source = pathToFileURL(join(path, "test.jsonl")).href;
  assert.deepEqual(await localFiles("dataset", `${source}?split=train`), [join(path, "test.jsonl")]);
  await assert.rejects(localFiles("dataset", `${source}?split=test`), /no such split.*splits=train, got=test/);
  await assert.rejects(localFiles("dataset", `${source}?config=en`), /no such configuration/);
  assert.deepEqual(await planned("s3://b/x/test.jsonl?split=train", "test.jsonl"), ["test.jsonl"]);
  await assert.rejects(planned("s3://b/x/test.jsonl?config=en", "test.jsonl"), /no such configuration/);
});
