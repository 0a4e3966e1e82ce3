import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { createBuckets, type Buckets } from "../../../infra/sources/bucket.js";
import { read } from "../../../infra/sources/objects.js";
import { sha256 } from "../../../infra/disk/files.js";
import type { CachedFile } from "../../../infra/transfer/fetch.js";
import { openStore } from "../../../infra/store/open-store.js";
import { s3Client, type S3Settings } from "../../../infra/store/s3-store.js";
import { noise } from "./hub/harness.js";
import { startTestS3 } from "../store/weed.js";
import { startFront, type Front } from "./front.js";

const MIB = 2 ** 20;
const scratch = mkdtempSync(join(tmpdir(), "roslin-bucket-"));
let server: Awaited<ReturnType<typeof startTestS3>>;
let front: Front;
let settings: S3Settings;
let count = 0;

before(async () => {
  server = await startTestS3();
  front = await startFront(server.settings.endpoint);
  settings = { ...server.settings, endpoint: front.url };
});
after(async () => {
  await front.close();
  await server.stop();
  rmSync(scratch, { recursive: true });
});

const never = new AbortController().signal;
const quiet = { signal: never, onBytes: () => {}, onNote: () => {} };
const cacheOf = (): string => join(scratch, `cache-${count++}`);
const bucketsIn = (cacheDirectory: string): Buckets => createBuckets({ settings, cacheDirectory, timing: { stallMs: 2000, retryMs: 1 } });

/** Puts objects below a new prefix; gives its address. */
async function put(files: Readonly<Record<string, Uint8Array | string>>): Promise<string> {
  const prefix = `s3://roslin/source-${count++}`;
  const store = openStore(prefix, server.settings);
  for (const [name, bytes] of Object.entries(files)) await store.write(name, Buffer.from(bytes));
  return prefix;
}

test("what lies below a prefix comes with its paths, and a second time from the cache", async () => {
  const weights = noise(3 * MIB + 7);
  const source = await put({ "config.json": "{}", "sub/model.safetensors": weights });
  const cache = cacheOf();
  const remote = await bucketsIn(cache).open("model", `${source}/`, never);
  assert.deepEqual(remote.origin, { uri: source });
  assert.deepEqual(
    remote.files.map(({ path, bytes }) => [path, bytes]),
    [
      ["config.json", 2],
      ["sub/model.safetensors", weights.length],
    ],
  );
  assert.equal(await remote.missing(remote.files), weights.length + 2);
  const cached = await remote.fetch(remote.files, quiet);
  assert.deepEqual(
    cached.map((file) => [file.path, file.sha256, file.fetched]),
    [
      ["config.json", sha256("{}"), 2],
      ["sub/model.safetensors", sha256(weights), weights.length],
    ],
  );
  assert.deepEqual(readFileSync(cached[1]!.blob), weights);
  const again = await (await bucketsIn(cache).open("model", source, never)).fetch(remote.files, quiet);
  assert.ok(again.every(({ fetched }) => fetched === 0));
  assert.equal(readdirSync(cache).length, 2, "no partial file, journal or lock is left");
});

test("one object is a source as well; another version of it is another file", async () => {
  const source = await put({ "rows.jsonl": '{"a": 1}\n', "rows.jsonl.old": "" });
  const cache = cacheOf();
  const first = await bucketsIn(cache).open("model", `${source}/rows.jsonl`, never);
  assert.deepEqual(
    first.files.map(({ path }) => path),
    ["rows.jsonl"],
  );
  const [before] = await first.fetch(first.files, quiet);
  await openStore(source, server.settings).write("rows.jsonl", Buffer.from('{"a": 2}\n'));
  const second = await bucketsIn(cache).open("model", `${source}/rows.jsonl`, never);
  assert.notEqual(second.version, first.version);
  const [now] = await second.fetch(second.files, quiet);
  assert.deepEqual([readFileSync(before!.blob, "utf8"), readFileSync(now!.blob, "utf8")], ['{"a": 1}\n', '{"a": 2}\n']);
  const looked = await bucketsIn(cacheOf()).open("model", `${source}/rows.jsonl`, never);
  await openStore(source, server.settings).write("rows.jsonl", Buffer.from('{"a": 3}\n'));
  await assert.rejects(looked.fetch(looked.files, quiet), /UserError: an object changed while it was downloaded: start again/);
});

test("cut connections go on from the byte that they reached, and an abandoned download from its journal", async () => {
  const weights = noise(20 * MIB, 7);
  const source = await put({ "w.bin": weights });
  const cache = cacheOf();
  const stop = new AbortController();
  const remote = await bucketsIn(cache).open("model", source, never);
  front.cutAfter = 3 * MIB;
  const onBytes = (done: number): void => void (done >= 8 * MIB && stop.abort(new Error("stopped here")));
  await assert.rejects(remote.fetch(remote.files, { ...quiet, signal: stop.signal, onBytes }), /stopped here/);
  const missing = await remote.missing(remote.files);
  assert.ok(missing <= 12 * MIB, String(missing));
  front.asked.length = 0;
  const [file] = await (await bucketsIn(cache).open("model", source, never)).fetch(remote.files, quiet);
  front.cutAfter = null;
  assert.deepEqual([file!.sha256, file!.fetched], [sha256(weights), missing]);
  const starts = front.asked.flatMap((line) => /bytes=(\d+)-/.exec(line)?.slice(1).map(Number) ?? []);
  assert.ok(starts.length >= 4 && starts.every((start) => start > 0), starts.join(" "));
});

test("a model that Roslin published comes by the digests of its manifest, the latest one by its target", async () => {
  const files = { "config.json": "{}", "model.safetensors": "weights", "onnx/model.onnx": "graph" };
  const target = await put(Object.fromEntries(Object.entries(files).map(([name, text]) => [`m-1/${name}`, text])));
  const manifest = JSON.stringify({
    format: "roslin-manifest",
    version: 1,
    name: "m-1",
    files: Object.entries(files).map(([name, text]) => ({ name, sha256: sha256(text), bytes: text.length })),
    chain: [],
    tuned: [],
    amended: [],
    fingerprint: null,
  });
  const store = openStore(target, server.settings);
  await store.write("m-1/manifest.json", Buffer.from(manifest));
  await store.write("latest.json", Buffer.from(JSON.stringify({ name: "m-1", manifest: { sha256: sha256(manifest) } })));
  const buckets = bucketsIn(cacheOf());
  for (const source of [target, `${target}/latest`, `${target}/latest.json`, `${target}/m-1`]) {
    const remote = await buckets.open("model", source, never);
    assert.deepEqual(remote.origin, { uri: `${target}/m-1`, manifest: sha256(manifest) });
    assert.deepEqual(
      remote.files.map(({ path }) => path),
      Object.keys(files),
    );
  }
  const remote = await buckets.open("model", target, never);
  const [config] = await remote.fetch(remote.files.slice(0, 1), quiet);
  assert.equal(readFileSync(config!.blob, "utf8"), "{}");
  await store.write("m-1/model.safetensors", Buffer.from("changed"));
  await assert.rejects(remote.fetch(remote.files.slice(1, 2), quiet), (error: Error) => {
    for (const part of ["wrong digest", `${target}/m-1/model.safetensors`, sha256("weights"), sha256("changed")])
      assert.ok(error.message.includes(part), part);
    return error.name === "UserError";
  });
  await store.write("m-1/manifest.json", Buffer.from(`${manifest}\n`));
  await assert.rejects(buckets.open("model", target, never), /not the one that latest\.json names/);
});

test("a dataset called latest is what lies there, and so is a model's directory of that name", async () => {
  const source = await put({ "latest.json": "[]", "other.json": "[]", "latest/config.json": "{}", "latest/rows.json": "[]" });
  const buckets = bucketsIn(cacheOf());
  const filesOf = async (name: "model" | "dataset", from: string): Promise<string[]> =>
    (await buckets.open(name, from, never)).files.map(({ path }) => path);
  assert.deepEqual(await filesOf("dataset", `${source}/latest.json`), ["latest.json"]);
  assert.deepEqual(await filesOf("dataset", `${source}/latest/`), ["config.json", "rows.json"]);
  assert.deepEqual(await filesOf("model", `${source}/latest`), ["config.json", "rows.json"]);
  assert.equal((await filesOf("dataset", source)).length, 4, "rows called latest.json are no pointer to a model");
});

test("the digest that an object tells is checked: Roslin's own, else the MD5 in its ETag", async () => {
  const source = await put({ "plain.bin": "as it was" });
  const client = s3Client(server.settings);
  const Key = `${source.slice("s3://roslin/".length)}/told.bin`;
  await client.send(new PutObjectCommand({ Bucket: "roslin", Key, Body: "other bytes", Metadata: { sha256: sha256("the bytes") } }));
  const remote = await bucketsIn(cacheOf()).open("model", source, never);
  const [plain, told] = remote.files;
  assert.equal((await remote.fetch([plain!], quiet))[0]!.sha256, sha256("as it was"));
  await assert.rejects(remote.fetch([told!], quiet), /wrong digest, twice.*told\.bin/);
  await client.send(new CopyObjectCommand({ Bucket: "roslin", Key, CopySource: `roslin/${Key}`, MetadataDirective: "REPLACE" }));
  const now = await bucketsIn(cacheOf()).open("model", source, never);
  assert.equal((await now.fetch(now.files.slice(1), quiet))[0]!.sha256, sha256("other bytes"));
});

test("an object in parts, of which no digest is told, is fetched anew when its copy is not what came", async () => {
  const source = await put({});
  const at = { Bucket: "roslin", Key: `${source.slice("s3://roslin/".length)}/parts.bin` };
  const client = s3Client(server.settings);
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(at));
  const { ETag } = await client.send(new UploadPartCommand({ ...at, UploadId, PartNumber: 1, Body: "the bytes" }));
  await client.send(new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }));
  const remote = await bucketsIn(cacheOf()).open("dataset", source, never);
  const fetchIt = async (): Promise<CachedFile> => (await remote.fetch(remote.files, quiet))[0]!;
  const first = await fetchIt();
  const { blob } = first;
  assert.deepEqual([first.fetched, first.sha256], [9, sha256("the bytes")]);
  assert.deepEqual(await fetchIt(), { ...first, fetched: 0 });
  writeFileSync(blob, "the byteX");
  assert.deepEqual(await fetchIt(), first);
  assert.deepEqual([readFileSync(blob, "utf8"), readFileSync(`${blob}.bad`, "utf8")], ["the bytes", "the byteX"]);
  rmSync(`${blob}.sha256`);
  assert.equal((await fetchIt()).fetched, 9, "what nothing tells of is not used");
});

test("a full disk, or quota, that an object is written to is not taken for a server that fails", async () => {
  const key = `${(await put({ a: "bytes" })).slice("s3://roslin/".length)}/a`;
  for (const code of ["ENOSPC", "EDQUOT"]) {
    const full = Object.assign(new Error(`${code}: write`), { code, syscall: "write" });
    const write = (): never => {
      throw full;
    };
    await assert.rejects(
      read({ access: { settings, bucket: "roslin" }, key, etag: null }, null, { take: write, room: () => null }),
      (error) => error === full,
    );
  }
});

test("a user error is one; an error that time can cure is not", async () => {
  const buckets = bucketsIn(cacheOf());
  await assert.rejects(
    buckets.open("model", "s3://roslin/nothing/here", never),
    /UserError: nothing is there.*s3:\/\/roslin\/nothing\/here/,
  );
  await assert.rejects(buckets.open("model", "s3://no-such-bucket-of-ours/x", never), /UserError: .*no such bucket/);
  const wrong = { ...settings, credentials: { accessKeyId: "wrong", secretAccessKey: "wrong" } };
  await assert.rejects(
    createBuckets({ settings: wrong, cacheDirectory: cacheOf() }).open("model", "s3://roslin/x", never),
    /UserError: .*refuses the credentials/,
  );
  const nobody = createBuckets({ settings: { ...settings, endpoint: "http://127.0.0.1:9" }, cacheDirectory: cacheOf() });
  await assert.rejects(nobody.open("model", "s3://roslin/x", never), (error: Error) => error.name === "UnreachableError");
  writeFileSync(join(scratch, "file"), "");
  const remote = await createBuckets({ settings, cacheDirectory: join(scratch, "file", "below") }).open(
    "model",
    await put({ a: "1" }),
    never,
  );
  await assert.rejects(remote.checkSpace(1), /UserError: .*ROSLIN_HOME/);
  await assert.rejects(
    bucketsIn(cacheOf())
      .open("model", await put({ a: "1" }), never)
      .then((place) => place.checkSpace(1e18)),
    /too little room/,
  );
});
