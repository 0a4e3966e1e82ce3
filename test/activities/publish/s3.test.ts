import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { randomBytes } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  GetBucketLifecycleConfigurationCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { readAll } from "../../../infra/store/store.js";
import { publish } from "../../../activities/publish/publish.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { CHECKOUT } from "../../../workers/environment.js";
import type { StageContext, StageRequest } from "../../../activities/common/stage.js";
import { ForbiddenError, UserError } from "../../../core/errors.js";
import type { StageResult } from "../../../core/stages/results.js";
import { digestPublished, openPublished } from "../../../infra/sources/published.js";
import { s3Client, type S3Settings } from "../../../infra/store/s3-store.js";
import { startProxy, type Refusal, type S3Call } from "../../infra/store/proxy.js";
import { startTestS3 } from "../../infra/store/weed.js";
import { finishedRun, publishDependencies } from "./run.js";

const root = mkdtempSync(join(tmpdir(), "roslin-publish-s3-"));
let server: Awaited<ReturnType<typeof startTestS3>>;
let client: S3Client;
before(async () => {
  server = await startTestS3();
  client = s3Client(server.settings);
});
after(async () => {
  client.destroy();
  await server.stop();
  rmSync(root, { recursive: true });
});

let runs = 0;
/** A run whose model is large enough to go up in parts. */
async function bigRun(target: string, settings: object = {}): Promise<StageRequest> {
  const at = join(root, `run-${runs++}`);
  const request = await finishedRun(at, target, true, { "vocab.json": Buffer.alloc(17 << 20, randomBytes(1 << 16)) });
  return { ...request, config: { ...request.config, publish: { ...request.config.publish, ...settings } } };
}

const context = (signal = new AbortController().signal): StageContext => ({ signal, progress: () => undefined });
const go = (request: StageRequest, settings: S3Settings = server.settings, how = context()): Promise<StageResult<"publish">> =>
  publish(publishDependencies(settings), request, how);
const strays = async (prefix: string): Promise<number> =>
  (await client.send(new ListMultipartUploadsCommand({ Bucket: "roslin", Prefix: prefix }))).Uploads?.length ?? 0;

/** Publishes, and stops when the second part is on its way. */
async function goAndStop(request: StageRequest, settings: S3Settings & { readonly endpoint: string }): Promise<void> {
  const stop = new AbortController();
  const proxy = await startProxy(settings.endpoint, ({ part }) => {
    if (part === "2") stop.abort(new Error("stopped by the test"));
    return null;
  });
  try {
    await assert.rejects(go(request, { ...settings, endpoint: proxy.endpoint }, context(stop.signal)), /stopped by the test/);
  } finally {
    await proxy.stop();
  }
}

const denied: Refusal = { status: 403, code: "AccessDenied" };

type Statement = readonly { readonly Action: string | readonly string[]; readonly Resource: string }[];

/** The policy in the docs. */
function documented(): Statement {
  const doc = readFileSync(join(CHECKOUT, "docs", "s3.md"), "utf8");
  return (JSON.parse(/```json\n(.*?)```/s.exec(doc)![1]!) as { Statement: Statement }).Statement;
}

/** Whether a policy for everything below `prefix` allows a call. */
function allows(policy: Statement, prefix: string, { right, key }: S3Call): boolean {
  return policy.some(({ Action, Resource }) => {
    const path = Resource.replace("arn:aws:s3:::BUCKET", "").replace("/PREFIX/", `${prefix}/`);
    return [Action].flat().includes(right) && (path.endsWith("*") ? key.startsWith(path.slice(0, -1)) : key === path);
  });
}

/**
 * Publishes with the rights of a policy alone: after a stop whose journal is lost, after another stop, and once in vain, for
 * a file changes. What is wrong then, nothing if all is well, and the calls that were made.
 */
async function publishWith(policy: Statement, prefix: string): Promise<{ wrong: string[]; calls: readonly S3Call[] }> {
  // who may not list is told of a missing object that it is forbidden
  const hide = (call: S3Call, status: number): Refusal | null => (call.right === "s3:GetObject" && status === 404 ? denied : null);
  const proxy = await startProxy(server.settings.endpoint, (call) => (allows(policy, prefix, call) ? null : denied), hide);
  const settings = { ...server.settings, endpoint: proxy.endpoint };
  const wrong: string[] = [];
  const note = (error: Error): void => void wrong.push(error.message);
  try {
    const request = await bigRun(`s3://roslin/${prefix}`);
    await goAndStop(request, settings).catch(note);
    for (const key of wrong.length > 0 ? [] : readdirSync(join(request.root, "publish")))
      rmSync(join(request.root, "publish", key, "uploads"), { recursive: true });
    await goAndStop(request, settings).catch(note);
    await go(request, settings).catch(note);
    const other = await bigRun(`s3://roslin/${prefix}`);
    const changed = {
      ...context(),
      progress: ({ note }: { note?: string }) => {
        if (note === "vocab.json") writeFileSync(join(fileURLToPath(other.inputs[3]!.uri), "vocab.json"), Buffer.alloc(17 << 20));
      },
    };
    await assert.rejects(go(other, settings, changed), /changed before all of it was uploaded/).catch(note);
  } finally {
    await proxy.stop();
  }
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: "roslin", Prefix: `${prefix}/` }));
  const names = Contents.map(({ Key }) => Key!.slice(prefix.length + 1));
  if (!names.includes("latest.json")) wrong.push("latest.json is missing");
  if (names.includes(".roslin-may-write")) wrong.push("the object that was tried is left");
  if ((await strays(`${prefix}/`)) > 0) wrong.push("an upload is left");
  return { wrong, calls: proxy.calls };
}

test("the policy in the docs is enough, to go on after a stop and after a failure too, without the right to list", async () => {
  const policy = documented();
  const { wrong, calls } = await publishWith(policy, "rights");
  assert.deepEqual(wrong, []);
  const refused = calls.filter((call) => !allows(policy, "rights", call));
  assert.deepEqual(
    refused.map(({ right, key }) => `${right} ${key}`),
    [],
  );
});

test("every right of the policy in the docs earns its place", async () => {
  const policy = documented();
  const without: Record<string, RegExp> = {
    "s3:PutObject": /give them the right s3:PutObject/,
    "s3:GetObject": /give them the right s3:GetObject/,
    "s3:ListMultipartUploadParts": /give them the right s3:ListMultipartUploadParts/,
    "s3:AbortMultipartUpload": /an upload is left/,
    "s3:DeleteObject": /the object that was tried is left/,
    "s3:ListBucketMultipartUploads": /an upload is left/,
  };
  assert.deepEqual(policy.flatMap(({ Action }) => Action).sort(), Object.keys(without).sort());
  for (const [right, message] of Object.entries(without)) {
    const less = policy.map(({ Action, Resource }) => ({ Action: [Action].flat().filter((each) => each !== right), Resource }));
    const { wrong } = await publishWith(less, `lacks-${right.slice(3)}`);
    assert.match(wrong.join("\n"), message, right);
  }
});

test("a right that is missing is named", async () => {
  for (const right of ["s3:PutObject", "s3:GetObject"]) {
    const proxy = await startProxy(server.settings.endpoint, (call) => (call.right === right ? denied : null));
    try {
      await assert.rejects(
        go(await bigRun(`s3://roslin/lacks-${right.slice(3)}`), { ...server.settings, endpoint: proxy.endpoint }),
        (error) => error instanceof ForbiddenError && error.right === right && error.message.includes(`give them the right ${right}`),
      );
    } finally {
      await proxy.stop();
    }
  }
});

test("credentials that expire in the middle end the run, and after renewal it goes on with what had arrived", async () => {
  let expired = false;
  const proxy = await startProxy(server.settings.endpoint, async ({ part }) => {
    if (part !== null && part !== "1")
      while (!expired) {
        await sleep(20);
        const [key] = readdirSync(join(request.root, "publish"));
        const journals = join(request.root, "publish", key!, "uploads");
        expired = readdirSync(journals).some((name) => readFileSync(join(journals, name), "utf8").includes('{"part":1'));
      }
    return expired ? { status: 400, code: "ExpiredToken" } : null;
  });
  const request = await bigRun("s3://roslin/expired");
  try {
    await assert.rejects(
      go(request, { ...server.settings, endpoint: proxy.endpoint }),
      (error) => error instanceof UserError && /credentials have expired; renew them/.test(error.message),
    );
  } finally {
    await proxy.stop();
  }
  const again = await startProxy(server.settings.endpoint, () => null);
  try {
    await go(request, { ...server.settings, endpoint: again.endpoint });
    assert.equal(again.calls.filter(({ part }) => part !== null).length, 2, "of three parts one had arrived");
  } finally {
    await again.stop();
  }
  assert.equal(await strays("expired/"), 0);
});

test("a run that fails for good leaves no upload; one that is stopped keeps it", async () => {
  const request = await bigRun("s3://roslin/failed");
  await goAndStop(request, server.settings);
  assert.equal(await strays("failed/"), 1);
  const proxy = await startProxy(server.settings.endpoint, ({ part }) => (part === "2" ? denied : null));
  await assert.rejects(go(request, { ...server.settings, endpoint: proxy.endpoint }), ForbiddenError);
  await proxy.stop();
  assert.equal(await strays("failed/"), 0);
});

test("a bucket of another region is followed there", async () => {
  const proxy = await startProxy(server.settings.endpoint, ({ headers }) =>
    headers.authorization!.includes("/eu-west-9/")
      ? null
      : { status: 301, code: "PermanentRedirect", headers: { "x-amz-bucket-region": "eu-west-9" } },
  );
  try {
    const result = await go(await bigRun("s3://roslin/region"), { ...server.settings, endpoint: proxy.endpoint });
    assert.equal(result.metrics["latest"], true);
  } finally {
    await proxy.stop();
  }
});

test("objects are kept as the configuration says, and sent again when it changes; the bucket's other rules stay", async () => {
  const old = { ID: "of somebody else", Status: "Enabled" as const, Filter: { Prefix: "logs/" }, Expiration: { Days: 3 } };
  await client.send(new PutBucketLifecycleConfigurationCommand({ Bucket: "roslin", LifecycleConfiguration: { Rules: [old] } }));
  const request = await bigRun("s3://roslin/kept", {
    encryption: "AES256",
    storageClass: "STANDARD_IA",
    tags: { team: "sheep & wool", cost: "42" },
    lifecycle: { abortUploadsAfterDays: 7, expireAfterDays: null },
  });
  const result = await go(request);
  for (const name of ["vocab.json", "manifest.json", "../latest.json"]) {
    const Key = new URL(name, `http://x/kept/${String(result.metrics["version"])}/`).pathname.slice(1);
    const { StorageClass, ServerSideEncryption } = await client.send(new HeadObjectCommand({ Bucket: "roslin", Key }));
    assert.deepEqual([StorageClass, ServerSideEncryption], ["STANDARD_IA", "AES256"], name);
    const { TagSet } = await client.send(new GetObjectTaggingCommand({ Bucket: "roslin", Key }));
    assert.deepEqual(TagSet!.map((tag) => `${tag.Key}=${tag.Value}`).sort(), ["cost=42", "team=sheep & wool"], name);
  }
  const { Rules } = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket: "roslin" }));
  assert.deepEqual(Rules!.map(({ ID }) => ID).sort(), ["of somebody else", "roslin kept"]);
  assert.deepEqual(Rules!.find(({ ID }) => ID === "roslin kept")!.AbortIncompleteMultipartUpload, { DaysAfterInitiation: 7 });
  assert.equal((await go(request)).reused, true);
  const plain = await go({ ...request, config: { ...request.config, publish: { ...request.config.publish, tags: {} } } });
  assert.equal(plain.metrics["bytesSent"], plain.metrics["bytes"], "all is kept in another way");
  assert.equal(plain.metrics["version"], result.metrics["version"]);
});

test("latest.json is written anew when it is to be kept in another way, and not when tags only come in another order", async () => {
  const request = await bigRun("s3://roslin/kept-latest");
  const look = async (): Promise<(string | undefined)[]> => {
    const object = { Bucket: "roslin", Key: "kept-latest/latest.json" };
    const { StorageClass, ServerSideEncryption, ETag } = await client.send(new HeadObjectCommand(object));
    const { TagSet } = await client.send(new GetObjectTaggingCommand(object));
    const tags = TagSet!.map(({ Key, Value }) => `${Key}=${Value}`).sort();
    return [ETag, StorageClass, ServerSideEncryption, tags.join(" ")];
  };
  const kept = async (settings: object, reused = false): Promise<(string | undefined)[]> => {
    const config = parseRunConfig({ ...request.config, publish: { target: "s3://roslin/kept-latest", ...settings } });
    const result = await go({ ...request, config });
    assert.deepEqual([result.reused, result.metrics["latest"]], [reused, true]);
    return await look();
  };
  const name = async (): Promise<string> => (await openPublished("s3://roslin/kept-latest", server.settings)).manifest.name;
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
    const request = await bigRun("s3://roslin/unknown", settings);
    await assert.rejects(go(request), (error) => error instanceof UserError && message.test(error.message));
  }
  const directory = await finishedRun(join(root, "to-directory"), `file://${join(root, "there")}`);
  const request = { ...directory, config: { ...directory.config, publish: { ...directory.config.publish, tags: { a: "b" } } } };
  await assert.rejects(go(request), (error) => error instanceof UserError && /a directory has no publish\.tags/.test(error.message));
});

test("an object of the right name and size whose bytes are others is sent again, whatever its metadata says", async () => {
  const request = await bigRun("s3://roslin/forged");
  const first = await go(request);
  for (const name of ["generation_config.json", "vocab.json"]) {
    const { bytes, sha256: digest } = first.outputs.find((output) => output.name === name)!;
    const Key = `forged/${String(first.metrics["version"])}/${name}`;
    await client.send(
      new PutObjectCommand({ Bucket: "roslin", Key, Body: Buffer.alloc(bytes), ChecksumAlgorithm: "SHA256", Metadata: { sha256: digest } }),
    );
    const again = await go(request);
    assert.deepEqual([again.reused, again.metrics["bytesSent"]], [false, bytes], name);
  }
  rmSync(join(request.root, "publish"), { recursive: true });
  const anew = await go(request);
  assert.deepEqual([anew.reused, anew.metrics["bytesSent"]], [false, 0]);
});

test("odd names and a trailing slash are a prefix like any other, and one that leaves itself is refused", async () => {
  const target = "s3://roslin/my models/ünï+c0de%20 (v1)/a=b&c?#'~";
  const result = await go(await bigRun(`${target}/`));
  assert.equal(result.outputs[0]!.uri, `${target}/${String(result.metrics["version"])}`);
  const { uri, manifest } = await openPublished(target, server.settings);
  assert.equal(uri, result.outputs[0]!.uri);
  assert.equal(manifest.files.length, result.outputs.length - 1);
  for (const wrong of ["s3://roslin/a/../b", "s3://roslin/a//b", "s3://roslin/./b"])
    await assert.rejects(go(await bigRun(wrong)), (error) => error instanceof UserError && /no empty part/.test(error.message));
});

test("a bucket with versions gets one of each object, and no more when nothing is new", async () => {
  const versioning = (Status: "Enabled" | "Suspended") =>
    client.send(new PutBucketVersioningCommand({ Bucket: "roslin", VersioningConfiguration: { Status } }));
  await versioning("Enabled");
  try {
    const request = await bigRun("s3://roslin/versions");
    const versions = async (): Promise<string[]> =>
      ((await client.send(new ListObjectVersionsCommand({ Bucket: "roslin", Prefix: "versions/" }))).Versions ?? [])
        .map(({ Key }) => Key!)
        .filter((key) => !key.endsWith(".roslin-may-write"))
        .sort();
    const result = await go(request);
    const all = await versions();
    assert.equal(all.length, result.outputs.length - 1 + 2, "files, manifest, latest.json");
    assert.equal(new Set(all).size, all.length);
    assert.equal((await go(request)).reused, true);
    rmSync(join(request.root, "publish"), { recursive: true });
    assert.equal((await go(request)).reused, false);
    assert.deepEqual(await versions(), all);
  } finally {
    await versioning("Suspended");
  }
});

test("several runs that publish to one place at once all end, latest.json names the last, and goes back to none", async () => {
  const target = "s3://roslin/together";
  const requests = await Promise.all([1, 2, 3].map(() => bigRun(target)));
  // two of them are the same run on two machines
  cpSync(requests[0]!.root, join(root, "twin"), { recursive: true });
  const twin = { ...requests[0]!, root: join(root, "twin") };
  const results = await Promise.all([...requests, twin].map((request) => go(request)));
  assert.equal(results[0]!.metrics["version"], results[3]!.metrics["version"]);
  const read = async (): Promise<{ name: string; superseded: string[] }> => {
    const { manifest } = await openPublished(target, server.settings);
    const store = publishDependencies(server.settings).openStore(target, twin.config.publish, context().signal);
    const latest = JSON.parse(Buffer.from((await readAll(store, "latest.json"))!).toString()) as Awaited<ReturnType<typeof read>>;
    assert.equal(manifest.name, latest.name);
    return latest;
  };
  const { name, superseded } = await read();
  assert.deepEqual(new Set([...superseded, name]), new Set(results.map(({ metrics }) => metrics["version"])));
  assert.equal(await strays("together/"), 0);
  const earlier = [...requests, twin][results.findIndex(({ metrics }) => metrics["version"] === superseded[0])]!;
  rmSync(join(earlier.root, "publish"), { recursive: true });
  assert.equal((await go(earlier)).metrics["latest"], false);
  assert.deepEqual(await read(), { ...(await read()), name, superseded });
});

test("killed twenty times at moments that no one chose, it publishes the same bytes and leaves no upload", async () => {
  const request = await bigRun("s3://roslin/killed");
  const child = fileURLToPath(new URL("publish-child.js", import.meta.url));
  let kills = 0;
  // the call that kills: now one at the beginning, now one in the middle of the parts, now one at the end
  for (let at = 1; kills < 20; at = (at * 7) % 41) {
    let calls = 0;
    let killed = false;
    const proxy = await startProxy(server.settings.endpoint, () => {
      if (++calls === at) killed = publishing.kill("SIGKILL");
      return null;
    });
    const settings = { ...server.settings, endpoint: proxy.endpoint };
    const publishing = spawn(process.execPath, ["--no-warnings", child, JSON.stringify({ request, settings })], { stdio: "inherit" });
    await once(publishing, "exit");
    await proxy.stop();
    if (killed) kills++;
    // done before that call came: begin again elsewhere
    else rmSync(join(request.root, "publish"), { recursive: true });
  }
  const result = await go(request);
  assert.equal(await strays("killed/"), 0);
  const { store, manifest } = await openPublished(result.outputs[0]!.uri, server.settings);
  for (const { name, sha256: digest } of manifest.files)
    assert.equal((await digestPublished(store, name, new AbortController().signal))!.sha256, digest, name);
});

test("no credential is in what a run leaves on disk", async () => {
  const request = await bigRun("s3://roslin/secrets");
  await go(request);
  const { accessKeyId, secretAccessKey } = server.settings.credentials!;
  const { stdout } = spawnSync("grep", ["-rlE", `${accessKeyId}|${secretAccessKey}`, join(request.root, "..")], { encoding: "utf8" });
  assert.equal(stdout, "");
});
