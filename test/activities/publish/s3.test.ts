import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  GetBucketLifecycleConfigurationCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { readAll } from "../../../infra/store/store.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { UserError } from "../../../core/errors.js";
import { digestPublished, openPublished } from "../../../infra/sources/published.js";
import { startProxy } from "../../infra/store/proxy.js";
import { finishedRun, publishDependencies } from "./run.js";
import { context, S3Runs } from "./s3-runs.js";

const runs = new S3Runs();

test("a bucket of another region is followed there", async () => {
  const proxy = await startProxy(runs.settings.endpoint, ({ headers }) =>
    headers.authorization!.includes("/eu-west-9/")
      ? null
      : { status: 301, code: "PermanentRedirect", headers: { "x-amz-bucket-region": "eu-west-9" } },
  );
  try {
    const result = await runs.go(await runs.bigRun("s3://roslin/region"), { ...runs.settings, endpoint: proxy.endpoint });
    assert.equal(result.metrics["latest"], true);
  } finally {
    await proxy.stop();
  }
});

test("objects are kept as the configuration says, and sent again when it changes; the bucket's other rules stay", async () => {
  const old = { ID: "of somebody else", Status: "Enabled" as const, Filter: { Prefix: "logs/" }, Expiration: { Days: 3 } };
  await runs.client.send(new PutBucketLifecycleConfigurationCommand({ Bucket: "roslin", LifecycleConfiguration: { Rules: [old] } }));
  const request = await runs.bigRun("s3://roslin/kept", {
    encryption: "AES256",
    storageClass: "STANDARD_IA",
    tags: { team: "sheep & wool", cost: "42" },
    lifecycle: { abortUploadsAfterDays: 7, expireAfterDays: null },
  });
  const result = await runs.go(request);
  for (const name of ["vocab.json", "manifest.json", "../latest.json"]) {
    const Key = new URL(name, `http://x/kept/${String(result.metrics["version"])}/`).pathname.slice(1);
    const { StorageClass, ServerSideEncryption } = await runs.client.send(new HeadObjectCommand({ Bucket: "roslin", Key }));
    assert.deepEqual([StorageClass, ServerSideEncryption], ["STANDARD_IA", "AES256"], name);
    const { TagSet } = await runs.client.send(new GetObjectTaggingCommand({ Bucket: "roslin", Key }));
    assert.deepEqual(TagSet!.map((tag) => `${tag.Key}=${tag.Value}`).sort(), ["cost=42", "team=sheep & wool"], name);
  }
  const { Rules } = await runs.client.send(new GetBucketLifecycleConfigurationCommand({ Bucket: "roslin" }));
  assert.deepEqual(Rules!.map(({ ID }) => ID).sort(), ["of somebody else", "roslin kept"]);
  assert.deepEqual(Rules!.find(({ ID }) => ID === "roslin kept")!.AbortIncompleteMultipartUpload, { DaysAfterInitiation: 7 });
  assert.equal((await runs.go(request)).reused, true);
  const plain = await runs.go({ ...request, config: { ...request.config, publish: { ...request.config.publish, tags: {} } } });
  assert.equal(plain.metrics["bytesSent"], plain.metrics["bytes"], "all is kept in another way");
  assert.equal(plain.metrics["version"], result.metrics["version"]);
});

test("latest.json is written anew when it is to be kept in another way, and not when tags only come in another order", async () => {
  const request = await runs.bigRun("s3://roslin/kept-latest");
  const look = async (): Promise<(string | undefined)[]> => {
    const object = { Bucket: "roslin", Key: "kept-latest/latest.json" };
    const { StorageClass, ServerSideEncryption, ETag } = await runs.client.send(new HeadObjectCommand(object));
    const { TagSet } = await runs.client.send(new GetObjectTaggingCommand(object));
    const tags = TagSet!.map(({ Key, Value }) => `${Key}=${Value}`).sort();
    return [ETag, StorageClass, ServerSideEncryption, tags.join(" ")];
  };
  const kept = async (settings: object, reused = false): Promise<(string | undefined)[]> => {
    const config = parseRunConfig({ ...request.config, publish: { target: "s3://roslin/kept-latest", ...settings } });
    const result = await runs.go({ ...request, config });
    assert.deepEqual([result.reused, result.metrics["latest"]], [reused, true]);
    return await look();
  };
  const name = async (): Promise<string> => (await openPublished("s3://roslin/kept-latest", runs.settings)).manifest.name;
  await kept({});
  const model = await name();
  const settings = { encryption: "AES256", storageClass: "STANDARD_IA" };
  const [written, ...ways] = await kept({ ...settings, tags: { a: "1", b: "2" } });
  assert.deepEqual(ways, ["STANDARD_IA", "AES256", "a=1 b=2"]);
  assert.deepEqual(await kept({ ...settings, tags: { b: "2", a: "1" } }, true), [written, ...ways]);
  rmSync(join(request.root, "publish"), { recursive: true });
  assert.deepEqual(await kept({ ...settings, tags: { a: "1", b: "2" } }), [written, ...ways]);
  assert.deepEqual((await kept({ ...settings, tags: { a: "2" } })).slice(1), ["STANDARD_IA", "AES256", "a=2"]);
  assert.equal((await kept({})).at(-1), "");
  assert.equal(await name(), model);
});

test("a setting that the server doesn't know is named, before anything is sent", async () => {
  for (const [settings, message] of [
    [{ encryption: "aws:kms", kmsKeyId: "key" }, /does not keep them as a setting asks.*\n {2}- publish\.encryption: /],
    [{ encryption: "aws:kms", tags: { a: "b" } }, /publish\.encryption: (?!.*publish\.tags)/s],
  ] as const) {
    const request = await runs.bigRun("s3://roslin/unknown", settings);
    await assert.rejects(runs.go(request), (error) => error instanceof UserError && message.test(error.message));
  }
  const directory = await finishedRun(join(runs.root, "to-directory"), `file://${join(runs.root, "there")}`);
  const request = { ...directory, config: { ...directory.config, publish: { ...directory.config.publish, tags: { a: "b" } } } };
  await assert.rejects(runs.go(request), (error) => error instanceof UserError && /a directory has no publish\.tags/.test(error.message));
});

test("an object of the right name and size whose bytes are others is sent again, whatever its metadata says", async () => {
  const request = await runs.bigRun("s3://roslin/forged");
  const first = await runs.go(request);
  for (const name of ["generation_config.json", "vocab.json"]) {
    const { bytes, sha256: digest } = first.outputs.find((output) => output.name === name)!;
    const Key = `forged/${String(first.metrics["version"])}/${name}`;
    await runs.client.send(
      new PutObjectCommand({ Bucket: "roslin", Key, Body: Buffer.alloc(bytes), ChecksumAlgorithm: "SHA256", Metadata: { sha256: digest } }),
    );
    const again = await runs.go(request);
    assert.deepEqual([again.reused, again.metrics["bytesSent"]], [false, bytes], name);
  }
  rmSync(join(request.root, "publish"), { recursive: true });
  const anew = await runs.go(request);
  assert.deepEqual([anew.reused, anew.metrics["bytesSent"]], [false, 0]);
});

test("odd names and a trailing slash are a prefix like any other, and one that leaves itself is refused", async () => {
  const target = "s3://roslin/my models/ünï+c0de%20 (v1)/a=b&c?#'~";
  const result = await runs.go(await runs.bigRun(`${target}/`));
  assert.equal(result.outputs[0]!.uri, `${target}/${String(result.metrics["version"])}`);
  const { uri, manifest } = await openPublished(target, runs.settings);
  assert.equal(uri, result.outputs[0]!.uri);
  assert.equal(manifest.files.length, result.outputs.length - 1);
  for (const wrong of ["s3://roslin/a/../b", "s3://roslin/a//b", "s3://roslin/./b"])
    await assert.rejects(runs.go(await runs.bigRun(wrong)), (error) => error instanceof UserError && /no empty part/.test(error.message));
});

test("a bucket with versions gets one of each object, and no more when nothing is new", async () => {
  const versioning = (Status: "Enabled" | "Suspended") =>
    runs.client.send(new PutBucketVersioningCommand({ Bucket: "roslin", VersioningConfiguration: { Status } }));
  await versioning("Enabled");
  try {
    const request = await runs.bigRun("s3://roslin/versions");
    const versions = async (): Promise<string[]> =>
      ((await runs.client.send(new ListObjectVersionsCommand({ Bucket: "roslin", Prefix: "versions/" }))).Versions ?? [])
        .map(({ Key }) => Key!)
        .filter((key) => !key.endsWith(".roslin-may-write"))
        .sort();
    const result = await runs.go(request);
    const all = await versions();
    assert.equal(all.length, result.outputs.length - 1 + 2, "files, manifest, latest.json");
    assert.equal(new Set(all).size, all.length);
    assert.equal((await runs.go(request)).reused, true);
    rmSync(join(request.root, "publish"), { recursive: true });
    assert.equal((await runs.go(request)).reused, false);
    assert.deepEqual(await versions(), all);
  } finally {
    await versioning("Suspended");
  }
});

test("several runs that publish to one place at once all end, latest.json names the last, and goes back to none", async () => {
  const target = "s3://roslin/together";
  const requests = await Promise.all([1, 2, 3].map(() => runs.bigRun(target)));
  // two of them are the same run on two machines
  cpSync(requests[0]!.root, join(runs.root, "twin"), { recursive: true });
  const twin = { ...requests[0]!, root: join(runs.root, "twin") };
  const results = await Promise.all([...requests, twin].map((request) => runs.go(request)));
  assert.equal(results[0]!.metrics["version"], results[3]!.metrics["version"]);
  const read = async (): Promise<{ name: string; superseded: string[] }> => {
    const { manifest } = await openPublished(target, runs.settings);
    const store = publishDependencies(runs.settings).openStore(target, twin.config.publish, context().signal);
    const latest = JSON.parse(Buffer.from((await readAll(store, "latest.json"))!).toString()) as Awaited<ReturnType<typeof read>>;
    assert.equal(manifest.name, latest.name);
    return latest;
  };
  const { name, superseded } = await read();
  assert.deepEqual(new Set([...superseded, name]), new Set(results.map(({ metrics }) => metrics["version"])));
  assert.equal(await runs.strays("together/"), 0);
  const earlier = [...requests, twin][results.findIndex(({ metrics }) => metrics["version"] === superseded[0])]!;
  rmSync(join(earlier.root, "publish"), { recursive: true });
  assert.equal((await runs.go(earlier)).metrics["latest"], false);
  assert.deepEqual(await read(), { ...(await read()), name, superseded });
});

test("killed twenty times at moments that no one chose, it publishes the same bytes and leaves no upload", async () => {
  const request = await runs.bigRun("s3://roslin/killed");
  const child = fileURLToPath(new URL("publish-child.js", import.meta.url));
  let kills = 0;
  // the call that kills: now one at the beginning, now one in the middle of the parts, now one at the end
  for (let at = 1; kills < 20; at = (at * 7) % 41) {
    let calls = 0;
    let killed = false;
    const proxy = await startProxy(runs.settings.endpoint, () => {
      if (++calls === at) killed = publishing.kill("SIGKILL");
      return null;
    });
    const settings = { ...runs.settings, endpoint: proxy.endpoint };
    const publishing = spawn(process.execPath, ["--no-warnings", child, JSON.stringify({ request, settings })], { stdio: "inherit" });
    await once(publishing, "exit");
    await proxy.stop();
    if (killed) kills++;
    // done before that call came: begin again elsewhere
    else rmSync(join(request.root, "publish"), { recursive: true });
  }
  const result = await runs.go(request);
  assert.equal(await runs.strays("killed/"), 0);
  const { store, manifest } = await openPublished(result.outputs[0]!.uri, runs.settings);
  for (const { name, sha256: digest } of manifest.files)
    assert.equal((await digestPublished(store, name, new AbortController().signal))!.sha256, digest, name);
});

test("no credential is in what a run leaves on disk", async () => {
  const request = await runs.bigRun("s3://roslin/secrets");
  await runs.go(request);
  const { accessKeyId, secretAccessKey } = runs.settings.credentials!;
  const { stdout } = spawnSync("grep", ["-rlE", `${accessKeyId}|${secretAccessKey}`, join(request.root, "..")], { encoding: "utf8" });
  assert.equal(stdout, "");
});
