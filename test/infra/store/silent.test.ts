import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { finishedRun, publishDependencies } from "../../activities/publish/run.js";
import { publish } from "../../../activities/publish/publish.js";
import { createBuckets } from "../../../infra/sources/bucket.js";
import { checkTarget } from "../../../infra/store/check.js";
import { digestFile } from "../../../infra/disk/file-digest.js";
import { openStore } from "../../../infra/store/open-store.js";
import { BUCKET_DECIDES } from "../../../infra/store/s3-options.js";
import type { S3Settings } from "../../../infra/store/s3-store.js";
import { readAll } from "../../../infra/store/store.js";
import { startProxy } from "./proxy.js";
import { startTestS3 } from "./weed.js";

/** S3 servers that take a call and say nothing: a minute passes before one counts as dead, and who stops does not wait for that. */

const root = mkdtempSync(join(tmpdir(), "roslin-silent-"));
const reason = new Error("stopped by the test");
let server: Awaited<ReturnType<typeof startTestS3>>;
before(async () => {
  server = await startTestS3();
});
after(async () => {
  await server.stop();
  rmSync(root, { recursive: true });
});

/**
 * Does the same again and again, each time with a server that says nothing from one call later on, and stops at that call,
 * until all is done before one comes. What each stop ended with, undefined where it was done all the same.
 */
async function stoppedAtEach(work: (settings: S3Settings, signal: AbortSignal) => Promise<unknown>): Promise<unknown[]> {
  const ends: unknown[] = [];
  for (;;) {
    const stop = new AbortController();
    let calls = 0;
    const proxy = await startProxy(server.settings.endpoint, async () => {
      if (calls++ < ends.length) return null;
      stop.abort(reason);
      return await new Promise(() => undefined);
    });
    try {
      const settings = { ...server.settings, endpoint: proxy.endpoint };
      const end = await work(settings, stop.signal).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (!stop.signal.aborted) {
        assert.equal(end, undefined);
        return ends;
      }
      ends.push(end);
    } finally {
      await proxy.stop();
    }
  }
}

/** Whether something ended because it was told to. */
const isStop = (error: unknown): boolean => error === reason || (error as Error | undefined)?.name === "AbortError";

test("every call of a store ends when it is told to", { timeout: 120_000 }, async () => {
  const path = join(root, "file");
  writeFileSync(path, Buffer.alloc(20 << 20, "roslin"));
  const digest = await digestFile(path);
  const ends = await stoppedAtEach(async (settings, signal) => {
    const store = openStore("s3://roslin/store", settings, BUCKET_DECIDES, signal);
    await store.write("a", Buffer.from("a"));
    await readAll(store, "a");
    await store.create("b", Buffer.from("b"));
    await store.replace("a", Buffer.from("c"), Buffer.from("a"));
    await store.seal("a");
    await store.list("");
    await store.putFile("big", path, { digest, journal: join(root, "journal"), onBytes: () => undefined, signal });
    await store.delete("big");
  });
  assert.ok(ends.length > 12);
  assert.deepEqual(
    ends.filter((end) => end !== reason),
    [],
  );
});

test("looking for a place to publish, and all of publishing, end when they are told to", { timeout: 120_000 }, async () => {
  const lifecycle = { abortUploadsAfterDays: 7, expireAfterDays: null };
  const checks = await stoppedAtEach((settings, signal) =>
    checkTarget("s3://roslin/check", settings, { ...BUCKET_DECIDES, storageClass: "STANDARD_IA", tags: { a: "b" }, lifecycle }, signal),
  );
  assert.ok(checks.length > 8 && checks.every(isStop), checks.map(String).join("\n"));
  const request = await finishedRun(join(root, "run"), "s3://roslin/publish");
  const ends = await stoppedAtEach((settings, signal) => publish(publishDependencies(settings), request, { signal, progress: () => {} }));
  assert.ok(ends.length > 20 && ends.every(isStop), ends.map(String).join("\n"));
});

test("looking at a source, and fetching it, end when they are told to", { timeout: 120_000 }, async () => {
  const store = openStore("s3://roslin/source", server.settings);
  await store.write("config.json", Buffer.from("{}"));
  await store.write("manifest.json", Buffer.from("{}"));
  const ends = await stoppedAtEach(async (settings, signal) => {
    const remote = await createBuckets({ settings, cacheDirectory: join(root, "cache") }).open("model", "s3://roslin/source", signal);
    await remote.fetch(remote.files, { signal, onBytes: () => undefined, onNote: () => undefined });
  });
  assert.ok(ends.length > 4 && ends.every(isStop), ends.map(String).join("\n"));
});

test("an object that stops coming in the middle is let go when it is told to", { timeout: 120_000 }, async () => {
  const half = createServer((_request, response) => {
    response.writeHead(200, { "content-length": 20 });
    response.write("ten bytes.");
  });
  const asked = once(half, "request") as Promise<[IncomingMessage, ServerResponse]>;
  await new Promise<void>((resolve) => void half.listen(0, "127.0.0.1", resolve));
  try {
    const stop = new AbortController();
    const endpoint = `http://127.0.0.1:${(half.address() as AddressInfo).port}`;
    const chunks = await openStore("s3://roslin", { ...server.settings, endpoint }, undefined, stop.signal).read("key");
    await assert.rejects(async () => {
      for await (const chunk of chunks!) if (Buffer.from(chunk).toString() === "ten bytes.") stop.abort(reason);
    }, reason);
    const [, response] = await asked;
    if (!response.closed) await once(response, "close");
  } finally {
    half.closeAllConnections();
    half.close();
  }
});
