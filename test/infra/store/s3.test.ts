import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { CreateMultipartUploadCommand, ListMultipartUploadsCommand, S3Client } from "@aws-sdk/client-s3";
import { UserError } from "../../../core/errors.js";
import { sha256, sha256File } from "../../../infra/disk/files.js";
import { openStore } from "../../../infra/store/open-store.js";
import { digestFile, planParts } from "../../../infra/disk/file-digest.js";
import { BUCKET_DECIDES } from "../../../infra/store/s3-options.js";
import { s3SettingsOf, type S3Settings } from "../../../infra/store/s3-store.js";
import type { ObjectStore } from "../../../infra/store/store.js";
import { storeConformance } from "./conformance.js";
import { startTestS3 } from "./weed.js";

let server: Awaited<ReturnType<typeof startTestS3>>;
let settings: S3Settings & { readonly endpoint: string };
let count = 0;
const scratch = mkdtempSync(join(tmpdir(), "roslin-upload-"));
before(async () => {
  server = await startTestS3();
  ({ settings } = server);
});
after(async () => {
  await server.stop();
  rmSync(scratch, { recursive: true });
});
const newStore = (): ObjectStore => openStore(`s3://roslin/test-${count++}`, settings);

storeConformance("S3", () => Promise.resolve(newStore()));
const kept = { ...BUCKET_DECIDES, storageClass: "STANDARD_IA", tags: { flock: "roslin" } } as const;
storeConformance("S3, as it is told to keep objects,", () => Promise.resolve(openStore(`s3://roslin/test-${count++}`, settings, kept)));

test("parts cover a file, and are never more than S3 takes", () => {
  const MIB = 1 << 20;
  assert.deepEqual(planParts(20 * MIB), [
    { part: 1, start: 0, end: 8 * MIB },
    { part: 2, start: 8 * MIB, end: 16 * MIB },
    { part: 3, start: 16 * MIB, end: 20 * MIB },
  ]);
  assert.deepEqual([planParts(2 ** 30).length, planParts(2 ** 31).length, planParts(2 ** 34).length], [64, 64, 512]);
  assert.ok(planParts(2 ** 42).length <= 10_000);
});

/** A file of 16 MiB times `parts` whose pages differ. */
function bigFile(parts: number): { path: string; content: Buffer } {
  const content = Buffer.alloc(parts << 24);
  for (let at = 0; at < content.length; at += 4096) content.writeUInt32LE(at, at);
  const path = join(scratch, `big-${count++}`);
  writeFileSync(path, content);
  return { path, content };
}

async function digestOf(store: ObjectStore, key: string): Promise<string> {
  const path = join(scratch, `back-${count++}`);
  const parts: Uint8Array[] = [];
  for await (const chunk of (await store.read(key))!) parts.push(chunk);
  writeFileSync(path, Buffer.concat(parts));
  return await sha256File(path);
}

test("an aborted upload goes on with the parts that had arrived", async () => {
  const store = newStore();
  const { path, content } = bigFile(4);
  const journal = join(scratch, "journal-abort");
  const upload = { digest: await digestFile(path), journal };
  const stop = new AbortController();
  const reason = new Error("stopped by the test");
  let arrived = 0;
  const onBytes = (bytes: number): void => {
    arrived += bytes;
    stop.abort(reason);
  };
  await assert.rejects(store.putFile("model", path, { ...upload, onBytes, signal: stop.signal }), reason);
  assert.ok(arrived > 0 && arrived < content.length);
  const heard: number[] = [];
  await store.putFile("model", path, { ...upload, onBytes: (bytes) => void heard.push(bytes), signal: new AbortController().signal });
  assert.equal(
    heard.reduce((sum, bytes) => sum + bytes),
    content.length,
  );
  assert.equal(await digestOf(store, "model"), upload.digest.sha256);
  assert.equal(existsSync(journal), false);
});

test("an upload whose process was killed goes on with the parts that had arrived", async () => {
  const store = newStore();
  const { path, content } = bigFile(4);
  const journal = join(scratch, "journal-kill");
  const argument = JSON.stringify({ uri: store.uri, settings, key: "model", path, journal });
  const child = spawn(process.execPath, ["--no-warnings", fileURLToPath(new URL("upload-child.js", import.meta.url)), argument], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  child.kill("SIGKILL");
  await once(child, "exit");
  const first = Number(/bytes (\d+)/.exec(line.toString())![1]);
  const heard: number[] = [];
  await store.putFile("model", path, {
    digest: await digestFile(path),
    journal,
    onBytes: (bytes) => void heard.push(bytes),
    signal: new AbortController().signal,
  });
  assert.equal(heard[0], first);
  assert.equal(
    heard.reduce((sum, bytes) => sum + bytes),
    content.length,
  );
  assert.equal(await digestOf(store, "model"), sha256(content));
});

test("bytes that changed between digest and upload are never published, not even those that an earlier try had sent", async () => {
  const store = newStore();
  const { path, content } = bigFile(2);
  const journal = join(scratch, "journal-changed");
  const upload = { digest: await digestFile(path), journal };
  const flipped = Buffer.from(content);
  flipped[5]! ^= 1;
  writeFileSync(path, flipped);
  const stop = new AbortController();
  await assert.rejects(store.putFile("model", path, { ...upload, onBytes: () => stop.abort(new Error("stop")), signal: stop.signal }));
  const go = { ...upload, onBytes: () => undefined, signal: new AbortController().signal };
  await assert.rejects(store.putFile("model", path, go), /a file changed before all of it was uploaded/);
  assert.equal(existsSync(journal), false);
  assert.deepEqual(await store.list(""), []);

  writeFileSync(path, flipped);
  const again = new AbortController();
  await assert.rejects(store.putFile("model", path, { ...upload, onBytes: () => again.abort(new Error("stop")), signal: again.signal }));
  writeFileSync(path, content);
  await store.putFile("model", path, go).catch(() => store.putFile("model", path, go));
  assert.equal(await digestOf(store, "model"), upload.digest.sha256);
  writeFileSync(path, "small and changed");
  await assert.rejects(store.putFile("small", path, go), /a file changed/);
});

test("an upload that was begun and never journalled is gone when the object is whole", async () => {
  const store = newStore();
  const { path } = bigFile(2);
  const { endpoint, region, credentials } = settings;
  const client = new S3Client({ endpoint, region: region!, credentials: credentials!, forcePathStyle: true });
  const Key = `${store.uri.slice("s3://roslin/".length)}/model`;
  const pending = async (): Promise<number> =>
    (await client.send(new ListMultipartUploadsCommand({ Bucket: "roslin", Prefix: Key }))).Uploads?.length ?? 0;
  const upload = {
    digest: await digestFile(path),
    journal: join(scratch, "journal-stray"),
    onBytes: () => undefined,
    signal: new AbortController().signal,
  };
  for (const isNew of [true, false]) {
    await client.send(new CreateMultipartUploadCommand({ Bucket: "roslin", Key }));
    assert.equal(await pending(), 1);
    assert.equal(await store.putFile("model", path, upload), isNew);
    assert.equal(await pending(), 0);
  }
  client.destroy();
});

test("a journal of another file's upload, or of one that the server forgot, is not gone on with", async () => {
  const store = newStore();
  const { path, content } = bigFile(2);
  const journal = join(scratch, "journal-other");
  const own = { Bucket: "roslin", Key: `${store.uri.slice("s3://roslin/".length)}/model`, sha256: sha256(content) };
  for (const header of [
    { ...own, Key: "other", uploadId: "gone" },
    { ...own, sha256: "other", uploadId: "gone" },
    { ...own, uploadId: "gone" },
  ]) {
    writeFileSync(journal, `${JSON.stringify(header)}\n{"part":1,"by`);
    await store.delete("model");
    assert.equal(
      await store.putFile("model", path, {
        digest: await digestFile(path),
        journal,
        onBytes: () => undefined,
        signal: new AbortController().signal,
      }),
      true,
    );
    assert.equal(await digestOf(store, "model"), sha256(content));
  }
});

test("a wrong setting is a UserError that names it", async () => {
  const nowhere = openStore("s3://no-such-bucket/p", settings);
  const bytes = Buffer.from("x");
  for (const call of [() => nowhere.list(""), () => nowhere.read("k"), () => nowhere.write("k", bytes), () => nowhere.create("k", bytes)])
    await assert.rejects(call, (error) => error instanceof UserError && /no such bucket.*bucket=no-such-bucket/.test(error.message));
  const stranger = openStore("s3://roslin/p", { ...settings, credentials: { accessKeyId: "nobody", secretAccessKey: "wrong" } });
  for (const call of [() => stranger.list(""), () => stranger.write("k", bytes), () => stranger.create("k", bytes)])
    await assert.rejects(call, (error) => error instanceof UserError && /refuses the credentials/.test(error.message));
  assert.throws(() => openStore("ftp://x/y", settings), UserError);
  assert.throws(() => openStore("file://host/dir", settings), UserError);
});

test("an endpoint that cannot be reached is an error that time can cure", async () => {
  const away = openStore("s3://roslin/p", { ...settings, endpoint: "http://127.0.0.1:1" });
  await assert.rejects(
    away.list(""),
    (error) => !(error instanceof UserError) && /cannot be reached.*127\.0\.0\.1:1/.test((error as Error).message),
  );
});

test("an address that is no URL is the user's to correct", () => {
  assert.equal(s3SettingsOf({ AWS_ENDPOINT_URL_S3: "http://127.0.0.1:9000" }).endpoint, "http://127.0.0.1:9000");
  for (const endpoint of ["nonsense", "localhost:9000", "http://"])
    assert.throws(
      () => s3SettingsOf({ AWS_ENDPOINT_URL_S3: endpoint }),
      (error: Error) => error instanceof UserError && error.message.includes(`[got=${endpoint}]`),
    );
});

test("an address with a password is refused without a word of it", () => {
  for (const endpoint of [
    "http://user:TOPSECRET@127.0.0.1:1",
    "https://TOPSECRET@host",
    "user:TOPSECRET@host:9000",
    "http:///u:TOPSECRET@host",
  ])
    for (const name of ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
      assert.throws(
        () => s3SettingsOf({ [name]: endpoint }),
        (error: Error) =>
          error instanceof UserError && /holds a name or a password/.test(error.message) && !/TOPSECRET/.test(error.message),
      );
});
