import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { appendFile, cp, mkdir, readFile, readdir, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { download } from "../../../activities/download/download.js";
import { modelOf } from "../../../core/model/families.js";
import { allParameters } from "../../../core/model/family.js";
import { outputNamed } from "../../../core/stages/results.js";
import { artifactOf, sha256File } from "../../../infra/disk/files.js";
import { cutAfter, startTestHub, type TestHub } from "../../infra/sources/hub/harness.js";
import { dependenciesFor, HUB, requestFor } from "./dependencies.js";
import { CONFIG, ROWS, MODEL, setUp, pathOf, localModel } from "./fixture.js";

test("model and dataset come from the hub with what is needed, digests and commits", async (context) => {
  const { server, run } = await setUp(context);
  const result = await run(HUB);
  assert.equal(result.reused, false);
  // other digests for the same sources? raise the stage's version
  assert.deepEqual(
    result.outputs.map((output) => output.sha256.slice(0, 16)),
    ["8861488e1c0c13d9", "02ea0dfb4a4aae24"],
  );
  assert.deepEqual((await readdir(pathOf(result, "model"))).sort(), ["config.json", "model.safetensors", "tokenizer.json"]);
  assert.deepEqual(await readFile(join(pathOf(result, "model"), "model.safetensors")), MODEL["model.safetensors"]);
  assert.equal(await readFile(join(pathOf(result, "dataset"), "data", "rows.json"), "utf8"), ROWS);
  assert.deepEqual(
    result.outputs.map(({ name, uri, sha256, bytes }) => ({ name, uri, sha256, bytes })),
    await Promise.all(result.outputs.map(({ name }) => artifactOf(name, pathOf(result, name)))),
  );
  const [model, dataset] = result.outputs.map(({ origin }) => origin!.uri);
  assert.match(model!, /^hf:\/\/org\/m@[0-9a-f]{40}$/);
  assert.match(dataset!, /^hf:\/\/org\/d@[0-9a-f]{40}$/);
  assert.deepEqual([result.metrics["modelFrom"], result.metrics["datasetFrom"]], [model, dataset]);
  assert.equal(result.metrics["bytesFetched"], result.metrics["bytes"]);
  assert.ok(server.requests.every(({ path }) => !path.includes("README") || path.startsWith("/datasets/org/d/resolve/")));
  const [, commit] = model!.split("@");
  assert.ok(server.requests.every(({ path }) => !path.startsWith("/org/m/resolve/") || path.includes(`/resolve/${commit}/`)));
});

test("a dataset of several files comes whole, its train split alone", async (context) => {
  const { server, run } = await setUp(context);
  const parts = ["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"];
  for (const [index, part] of parts.entries())
    await writeFile(join(server.root, `datasets/org/d/data/${part}.jsonl`), `{"row": ${index}}\n`);
  const result = await run(HUB);
  const dataset = pathOf(result, "dataset");
  assert.equal(result.metrics["datasetFiles"], "data/train-00000-of-00002.jsonl data/train-00001-of-00002.jsonl");
  assert.deepEqual(
    await Promise.all((await readdir(join(dataset, "data"))).sort().map((name) => readFile(join(dataset, "data", name), "utf8"))),
    ['{"row": 0}\n', '{"row": 1}\n'],
  );
});

test("a mirror that lists no digests is asked for each; who states them nowhere is named with the file, and one that nobody wants passed over", async (context) => {
  const { server, run } = await setUp(context);
  const digest = { size: ROWS.length, blobId: createHash("sha1").update(`blob ${ROWS.length}\0${ROWS}`).digest("hex") };
  let siblings: object[] = [{ rfilename: "rows.json", ...digest }, { rfilename: "README.md" }, { rfilename: "../x", size: 1 }];
  let headers = {};
  server.misbehave = (request, response) => {
    if (request.url!.startsWith("/api/datasets")) response.end(JSON.stringify({ sha: "b".repeat(40), siblings }));
    else if (request.url!.startsWith("/datasets/")) response.writeHead(200, { ...headers, "content-length": ROWS.length }).end(ROWS);
    return response.headersSent;
  };
  assert.deepEqual(await readdir(pathOf(await run(HUB), "dataset")), ["rows.json"]);
  siblings = [{ rfilename: "train.json" }, { rfilename: "README.md" }];
  for (const etag of [undefined, '"5d41402abc4b2a76b9719d911017c592"', '"5d41-402abc4b"']) {
    headers = etag === undefined ? {} : { etag };
    await assert.rejects(run(HUB), { name: "UserError", message: /doesn't state a file's size.*file=train\.json/ });
  }
  headers = { etag: `"${digest.blobId}"` };
  assert.deepEqual(await readdir(pathOf(await run(HUB), "dataset")), ["train.json"]);
  siblings = [{ rfilename: "data//train.json", ...digest }];
  await assert.rejects(run(HUB), { name: "UserError", message: /leaves its directory.*train\.json/ });
});

test("too little room on the disk is said before a byte is asked for", async (context) => {
  const { server, run } = await setUp(context);
  server.misbehave = (request, response) => {
    if (!request.url!.startsWith("/api/datasets")) return false;
    const siblings = [{ rfilename: "rows.parquet", size: 1e15, lfs: { sha256: "a".repeat(64), size: 1e15 } }];
    response.end(JSON.stringify({ sha: "b".repeat(40), siblings }));
    return true;
  };
  await assert.rejects(run(HUB), /NoRoomError: .*need=1000\.0 TB, have=\d/);
  assert.ok(server.requests.every(({ path }) => !path.includes("/resolve/")));
});

test("a second call asks for the commits only; a moved branch is noticed, and the old files stay", async (context) => {
  const { server, run } = await setUp(context);
  const first = await run(HUB);
  const sent = server.requests.length;
  const again = await run(HUB);
  assert.deepEqual(again, { ...first, reused: true });
  assert.equal(server.requests.length, sent + 2);
  await writeFile(join(server.root, "datasets/org/d/data/rows.json"), ROWS.replace("hello", "hi"));
  const moved = await run(HUB);
  assert.equal(moved.reused, false);
  assert.notEqual(outputNamed(moved.outputs, "dataset").sha256, outputNamed(first.outputs, "dataset").sha256);
  assert.deepEqual(outputNamed(moved.outputs, "model"), outputNamed(first.outputs, "model"));
  assert.equal(await readFile(join(pathOf(first, "dataset"), "data", "rows.json"), "utf8"), ROWS);
});

/** Resolves when config.json, which is fetched beside the is in the cache. */
async function configArrived(server: TestHub): Promise<void> {
  const isThere = async (): Promise<boolean> =>
    (await readdir(server.work, { recursive: true })).some((name) => /snapshots\/[0-9a-f]+\/config\.json$/.test(name));
  while (!(await isThere())) await sleep(20);
}

test("an interrupted download goes on with the bytes that are there", async (context) => {
  const { server, run } = await setUp(context);
  const abort = new AbortController();
  server.misbehave = (request, response) => {
    if (!request.url!.endsWith("model.safetensors")) return false;
    if (request.headers.range === undefined) cutAfter(response, 2048);
    else void configArrived(server).then(() => abort.abort(new Error("killed")));
    return request.headers.range !== undefined;
  };
  await assert.rejects(run(HUB, abort.signal), /killed/);
  server.misbehave = () => false;
  const before = server.requests.length;
  const result = await run(HUB);
  assert.equal(result.reused, false);
  assert.ok((result.metrics["bytesFetched"] as number) <= (result.metrics["bytes"] as number) - 1024);
  const later = server.requests.slice(before).filter(({ path }) => path.includes("/resolve/"));
  assert.ok(!later.some(({ path }) => path.endsWith("config.json")), "finished files are not asked for again");
});

test("after kill -9 the bytes that had come are not asked for again", async (context) => {
  const { server, run } = await setUp(context);
  const bytes = MODEL["model.safetensors"].length;
  server.misbehave = (request, response) => {
    if (!request.url!.endsWith("model.safetensors")) return false;
    response.writeHead(200, { "content-length": bytes });
    response.write(MODEL["model.safetensors"].subarray(0, 1000));
    // progress is noted with the first byte after some time: one comes now and then until some of them are, then silence
    void (async () => {
      for (let at = 1000; (await noted()) <= 1000; at++) {
        response.write(MODEL["model.safetensors"].subarray(at, at + 1));
        await sleep(200);
      }
    })();
    return true;
  };
  const child = spawn(process.execPath, [fileURLToPath(new URL("download-child.js", import.meta.url)), server.url, server.work], {
    stdio: "ignore",
  });
  const exit = once(child, "exit");
  const journal = async (): Promise<string> => {
    const name = (await readdir(server.work, { recursive: true })).find((each) => /[0-9a-f]{64}\.part\.journal$/.test(each));
    return name === undefined ? "" : await readFile(join(server.work, name), "utf8");
  };
  const noted = async (): Promise<number> =>
    Math.max(0, ...[...(await journal()).matchAll(/^0 (\d+)\n/gm)].map(([, upTo]) => Number(upTo)));
  while ((await noted()) <= 1000) await sleep(50);
  await configArrived(server);
  child.kill("SIGKILL");
  await exit;
  const upTo = await noted();
  server.misbehave = () => false;
  const before = server.requests.length;
  await run(HUB);
  const later = server.requests.slice(before).filter(({ path }) => path.includes("resolve"));
  assert.deepEqual(
    later.filter(({ path }) => path.endsWith("model.safetensors")).map(({ range }) => range),
    [`bytes=${upTo}-${bytes - 1}`],
  );
  assert.ok(!later.some(({ path }) => path.endsWith("config.json")));
});

test("with the hub out of reach the cache is used, without that an earlier download, and both are said", async (context) => {
  const { server, run, notes } = await setUp(context);
  const first = await run(HUB);
  server.misbehave = (_, response) => (response.writeHead(503).end(), true);
  assert.deepEqual(await run(HUB), { ...first, reused: true });
  assert.ok(
    notes.some((note) => note.includes("its source cannot be reached")),
    notes.join("\n"),
  );
  await rm(join(server.work, "hub"), { recursive: true });
  notes.length = 0;
  assert.deepEqual(await run(HUB), { ...first, reused: true });
  assert.match(notes.at(-1)!, /, downloaded before: its source cannot be reached$/);
  await rename(join(pathOf(first, "dataset"), "data", "rows.json"), join(pathOf(first, "dataset"), "data", "other.json"));
  await assert.rejects(run(HUB), /cannot be reached, and what was downloaded before has changed/);
});

test("local sources are used where they lie; a changed file is another result", async (context) => {
  const { server, run } = await setUp(context);
  const model = await localModel(server);
  const rows = join(server.work, "rows.json");
  await writeFile(rows, ROWS);
  const config = { model: { source: pathToFileURL(model).href }, dataset: { source: pathToFileURL(rows).href } };
  const first = await run(config);
  assert.equal(pathOf(first, "dataset"), rows);
  assert.equal(outputNamed(first.outputs, "dataset").sha256, await sha256File(rows));
  assert.equal((await run(config)).reused, true);
  await appendFile(rows, "\n");
  const changed = await run(config);
  assert.equal(changed.reused, false);
  assert.equal(outputNamed(changed.outputs, "dataset").sha256, await sha256File(rows));
  await rm(join(model, "tokenizer.json"));
  assert.deepEqual((await readdir(pathOf(await run(config), "model"))).sort(), ["config.json", "model.safetensors"]);
  assert.equal(server.requests.length, 0);
});

test("a dataset called latest.json is that file, and a model's directory may be called latest", async (context) => {
  const { server, run } = await setUp(context);
  const model = join(server.work, "latest");
  await rename(await localModel(server), model);
  const rows = join(server.work, "latest.json");
  await writeFile(rows, ROWS);
  await writeFile(join(server.work, "other.json"), "[]");
  const config = { model: { source: pathToFileURL(model).href }, dataset: { source: pathToFileURL(rows).href } };
  const result = await run(config);
  assert.equal(pathOf(result, "dataset"), rows);
  assert.deepEqual((await readdir(pathOf(result, "model"))).sort(), ["config.json", "model.safetensors", "tokenizer.json"]);
  const directory = join(server.work, "sets", "latest");
  await mkdir(directory, { recursive: true });
  await rename(rows, join(directory, "rows.json"));
  const beside = await run({ ...config, dataset: { source: `${pathToFileURL(directory).href}/` } });
  assert.deepEqual(await readdir(pathOf(beside, "dataset")), ["rows.json"]);
});

test("a model that has only a torch file comes from the hub and from a directory", async (context) => {
  const tiny = join(import.meta.dirname, "../../../../test/reference/gptj-tiny");
  const files = {
    "config.json": await readFile(join(tiny, "config.json")),
    "pytorch_model.bin": await readFile(join(tiny, "pytorch_model.bin")),
    "tokenizer.json": "{}",
    "training_args.bin": "not needed",
  };
  const server = await startTestHub({
    ...Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`models/org/t/${name}`, bytes])),
    "datasets/org/d/data/rows.json": ROWS,
  });
  context.after(() => server.close());
  const local = await localModel(server, files);
  for (const source of ["hf://org/t", pathToFileURL(local).href]) {
    const request = requestFor({ ...HUB, model: { source } }, server.work);
    const result = await download(dependenciesFor(server.url, server.work), request, {
      signal: new AbortController().signal,
      progress: () => undefined,
    });
    assert.deepEqual((await readdir(pathOf(result, "model"))).sort(), ["config.json", "pytorch_model.bin", "tokenizer.json"]);
  }
  await truncate(join(local, "pytorch_model.bin"), 4000);
  const request = requestFor({ ...HUB, model: { source: pathToFileURL(local).href } }, server.work);
  const cut = download(dependenciesFor(server.url, server.work), request, {
    signal: new AbortController().signal,
    progress: () => undefined,
  });
  await assert.rejects(cut, { name: "UserError", message: /truncated.*pytorch_model\.bin.*Get the file again/ });
});

const badSources: [string, (server: TestHub) => Promise<unknown>, RegExp][] = [
  ["a directory that is not there", async () => ({ model: { source: "file:///nowhere/at/all" } }), /model's source cannot be read.*ENOENT/],
  [
    "a file as model",
    async (server) => ({ model: { source: pathToFileURL(join(server.root, "models/org/m/config.json")).href } }),
    /must be a directory/,
  ],
  [
    "a model without config",
    async (server) => ({ model: { source: pathToFileURL(await localModel(server, { "model.safetensors": "" })).href } }),
    /needs config.json/,
  ],
  [
    "a model without weights",
    async (server) => ({ model: { source: pathToFileURL(await localModel(server, { "config.json": "{}" })).href } }),
    /a model needs weights/,
  ],
  ["a repository that is not there", async () => ({ model: { source: "hf://org/absent" } }), /no such repository/],
  [
    "a dataset without data",
    async (server) => ({ dataset: { source: pathToFileURL(await localModel(server, { "notes.txt": "" })).href } }),
    /a dataset needs a data file/,
  ],
  [
    "a dataset in a file of another kind",
    async (server) => ({
      dataset: { source: pathToFileURL(join(await localModel(server, { "rows.txt": "" }), "rows.txt")).href },
    }),
    /one of these kinds.*rows\.txt, expected=\.parquet \.jsonl \.json \.csv/,
  ],
];
for (const [what, make, expected] of badSources)
  test(`${what} is a user error, said before anything is downloaded`, async (context) => {
    const { server, run } = await setUp(context);
    const config = await make(server);
    await assert.rejects(run({ ...HUB, ...(config as object) }), (error: Error) => {
      assert.equal(error.name, "UserError");
      assert.match(`${error.message} ${String(error.cause)}`, expected);
      return true;
    });
    assert.ok(server.requests.every(({ path }) => !path.includes("/resolve/")));
  });

test("of a model in several files those that its index names come, from the hub and from a directory", async (context) => {
  const { server, run } = await setUp(context);
  const shard = "model-00001-of-00001.safetensors";
  const names = allParameters(modelOf(CONFIG, "test").parameters).map(({ name }) => [name, shard]);
  const { "model.safetensors": whole, ...others } = MODEL;
  const files = {
    ...others,
    [shard]: whole,
    "consolidated.safetensors": "the same in another form",
    "model.safetensors.index.json": JSON.stringify({ weight_map: Object.fromEntries(names) }),
  };
  await rm(join(server.root, "models/org/m"), { recursive: true });
  await mkdir(join(server.root, "models/org/m"));
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(server.root, "models/org/m", name), bytes);
  const remote = await run(HUB);
  assert.equal(remote.metrics["bytesFetched"], remote.metrics["bytes"]);
  const local = await run({ ...HUB, model: { source: pathToFileURL(await localModel(server, files)).href } });
  for (const result of [remote, local])
    assert.deepEqual((await readdir(pathOf(result, "model"))).sort(), [
      "config.json",
      shard,
      "model.safetensors.index.json",
      "tokenizer.json",
    ]);
  assert.equal(outputNamed(local.outputs, "model").sha256, outputNamed(remote.outputs, "model").sha256);
});

test("a model that Roslin cannot train is refused before its weights are asked for", async (context) => {
  const { server, run } = await setUp(context);
  await writeFile(join(server.root, "models/org/m/config.json"), JSON.stringify({ ...CONFIG, model_type: "bert" }));
  await assert.rejects(run(HUB), { name: "UserError", message: /config\.json of org\/m.*expected=gptj or .*, got="bert"/ });
  assert.ok(server.requests.every(({ path }) => !path.endsWith("safetensors")));
});

test("a truncated model file is named with expected and got", async (context) => {
  const { server, run } = await setUp(context);
  const model = await localModel(server);
  await cp(join(model, "model.safetensors"), join(model, "whole"));
  await truncate(join(model, "model.safetensors"), 4000);
  await assert.rejects(run({ ...HUB, model: { source: pathToFileURL(model).href } }), (error: Error) => {
    assert.equal(error.name, "UserError");
    assert.match(error.message, /wrong size: truncated.*model\.safetensors, expected=\d+, got=4000/);
    return true;
  });
});
