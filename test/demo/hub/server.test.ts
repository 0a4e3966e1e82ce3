import assert from "node:assert/strict";
import { createHash, randomFillSync } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseQuestion, parseRange, startHubServer, type HubServer } from "../../../demo/hub/server.js";

const BYTES = Buffer.from("0123456789");
const sha1 = (text: string): string => createHash("sha1").update(text).digest("hex");
let root: string;
let server: HubServer;

before(async () => {
  root = await mkdtemp(join(tmpdir(), "roslin-hub-server-"));
  await mkdir(join(root, "models/org/m/sub"), { recursive: true });
  await writeFile(join(root, "models/org/m/config.json"), "{}");
  await writeFile(join(root, "models/org/m/sub/w.safetensors"), BYTES);
  await writeFile(join(root, "secret"), "secret");
  server = await startHubServer({ root, host: "127.0.0.1", port: 0 });
});
after(async () => {
  await server.close();
  await rm(root, { recursive: true, force: true });
});

/** How often this process has a file open; null where the system doesn't tell. */
async function opened(path: string): Promise<number | null> {
  if (!existsSync("/proc/self/fd")) return null;
  const links = await Promise.all((await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")));
  return links.filter((target) => target === path).length;
}

const ask = (path: string, init: RequestInit = {}): Promise<Response> => fetch(server.url + path, init);

test("a repository is described with commit, sizes and digests", async () => {
  const description = (await (await ask("/api/models/org/m/revision/main?blobs=true")).json()) as { sha: string; siblings: unknown[] };
  const sha256 = createHash("sha256").update(BYTES).digest("hex");
  const blobId = sha1("blob 10\0" + BYTES.toString());
  assert.match(description.sha, /^[0-9a-f]{40}$/);
  assert.deepEqual(description.siblings, [
    { rfilename: "config.json", size: 2, blobId: sha1("blob 2\0{}") },
    { rfilename: "sub/w.safetensors", size: 10, blobId, lfs: { sha256, size: 10, pointerSize: 134 } },
  ]);
  const tree = (await (await ask(`/api/models/org/m/tree/${description.sha}?recursive=true`)).json()) as unknown[];
  assert.deepEqual(tree[1], {
    type: "file",
    path: "sub/w.safetensors",
    size: 10,
    oid: blobId,
    lfs: { oid: sha256, size: 10, pointerSize: 134 },
  });
});

test("the commit follows from the contents", async () => {
  const commit = async (): Promise<string> => ((await (await ask("/api/models/org/m")).json()) as { sha: string }).sha;
  const first = await commit();
  await writeFile(join(root, "models/org/m/config.json"), "{ }");
  const second = await commit();
  assert.notEqual(second, first);
  await writeFile(join(root, "models/org/m/config.json"), "{}");
  assert.equal(await commit(), first);
  assert.equal((await ask(`/org/m/resolve/${second}/config.json`)).status, 404);
});

test("files come whole or in ranges, with their digests in headers", async () => {
  const whole = await ask("/org/m/resolve/main/sub/w.safetensors");
  assert.equal(await whole.text(), BYTES.toString());
  assert.equal(whole.headers.get("x-linked-size"), "10");
  assert.equal(whole.headers.get("etag"), whole.headers.get("x-linked-etag"));
  const part = await ask("/org/m/resolve/main/sub/w.safetensors", { headers: { range: "bytes=3-5" } });
  assert.deepEqual([part.status, part.headers.get("content-range"), await part.text()], [206, "bytes 3-5/10", "345"]);
  const beyond = await ask("/org/m/resolve/main/sub/w.safetensors", { headers: { range: "bytes=10-" } });
  assert.deepEqual([beyond.status, beyond.headers.get("content-range")], [416, "bytes */10"]);
  const head = await ask("/org/m/resolve/main/config.json", { method: "HEAD" });
  assert.deepEqual(
    [head.status, head.headers.get("content-length"), head.headers.get("etag"), await head.text()],
    [200, "2", `"${sha1("blob 2\0{}")}"`, ""],
  );
  assert.match(head.headers.get("x-repo-commit")!, /^[0-9a-f]{40}$/);
});

test("a file of many chunks comes whole; of one whose reader goes away nothing stays open", async () => {
  const bytes = randomFillSync(Buffer.alloc(32 * 2 ** 20 + 7));
  const path = join(root, "models/org/m/large.bin");
  await writeFile(path, bytes);
  const got = Buffer.from(await (await ask("/org/m/resolve/main/large.bin")).arrayBuffer());
  assert.ok(got.equals(bytes));
  const part = await ask("/org/m/resolve/main/large.bin", { headers: { range: "bytes=1000001-" } });
  assert.ok(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(1_000_001)));
  const body = (await ask("/org/m/resolve/main/large.bin")).body!.getReader();
  await body.read();
  assert.ok([1, null].includes(await opened(path)));
  await body.cancel();
  while (((await opened(path)) ?? 0) > 0) await sleep(5);
  await rm(path);
});

test("nothing outside of a repository is served", async () => {
  for (const path of [
    "/org/m/resolve/main/..%2f..%2f..%2fsecret",
    "/..%2f..%2f/m/resolve/main/secret",
    "/org/m/resolve/main/absent",
    "/org/absent/resolve/main/x",
    "/api/models/org/m/revision/other",
    "/",
    "/%zz",
  ])
    assert.equal((await ask(path)).status, 404, path);
  assert.equal((await ask("/org/m/resolve/main/config.json", { method: "PUT" })).status, 405);
});

test("paths and ranges are read as the protocol has them", () => {
  assert.deepEqual(parseQuestion("/datasets/o/d/resolve/main/a/b.json"), {
    kind: "datasets",
    id: "o/d",
    revision: "main",
    what: "file",
    path: "a/b.json",
  });
  assert.equal(parseQuestion("/datasets/o/d/resolve/main"), null);
  assert.deepEqual(
    ["bytes=0-0", "bytes=5-", "bytes=-3", "bytes=8-99", "bytes=5-4", "bytes=0-1,3-4", undefined, "bytes=-0"].map((header) =>
      parseRange(header, 10),
    ),
    [{ start: 0, end: 1 }, { start: 5, end: 10 }, { start: 7, end: 10 }, { start: 8, end: 10 }, null, null, null, "impossible"],
  );
});
