import assert from "node:assert/strict";
import { lstat, mkdir, readFile, readdir, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import type { HubReference } from "../../../../core/config/source-ref.js";
import { createHub, type Hub } from "../../../../infra/sources/hub/hub.js";
import { startTestHub, type TestHub } from "./harness.js";

/**
 * What huggingface_hub 2.4.0 left in its cache after `snapshot_download` of these files from this hub (test/reference),
 * without what is its own: locks, lists of files for itself, and a tag for backups.
 */
interface Recorded {
  readonly hub: Readonly<Record<string, string>>;
  readonly cache: Readonly<Record<string, { readonly text: string } | { readonly link: string }>>;
}

const recorded = JSON.parse(await readFile(new URL("../../../../../test/reference/hub-cache.json", import.meta.url), "utf8")) as Recorded;
const SOURCES: readonly HubReference[] = [
  { kind: "models", id: "org/m", revision: "main" },
  { kind: "datasets", id: "org/d", revision: "main" },
];
const signal = new AbortController().signal;

/** Python's cache, as if it had been filled from this hub. */
async function fillAsPython(cache: string): Promise<void> {
  for (const [name, entry] of Object.entries(recorded.cache)) {
    await mkdir(dirname(join(cache, name)), { recursive: true });
    await ("text" in entry ? writeFile(join(cache, name), entry.text) : symlink(entry.link, join(cache, name)));
  }
}

async function setUp(context: TestContext): Promise<{ server: TestHub; hub: Hub; cache: string }> {
  const server = await startTestHub(recorded.hub);
  context.after(() => server.close());
  const cache = join(server.work, "hub");
  return { server, cache, hub: createHub({ endpoint: server.url, token: null, cacheDirectory: cache }) };
}

/** Fetches every file of both repositories; gives the bytes that came over the wire. */
async function fetchEverything(hub: Hub): Promise<number> {
  let fetched = 0;
  for (const source of SOURCES) {
    const remote = await hub.resolve(source, signal);
    for (const file of await remote.fetch(remote.files, { signal, onBytes: () => {}, onNote: () => {} })) fetched += file.fetched;
  }
  return fetched;
}

async function treeOf(cache: string): Promise<Recorded["cache"]> {
  const entries: [string, { text: string } | { link: string }][] = [];
  for (const name of (await readdir(cache, { recursive: true })).filter((each) => !each.includes("/trees"))) {
    const path = join(cache, name);
    const info = await lstat(path);
    if (info.isSymbolicLink()) entries.push([name, { link: await readlink(path) }]);
    else if (info.isFile()) entries.push([name, { text: await readFile(path, "utf8") }]);
  }
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

test("Roslin's cache is the one that Python's client makes, name by name and link by link", async (context) => {
  const { hub, cache } = await setUp(context);
  assert.equal(await fetchEverything(hub), Object.values(recorded.hub).join("").length);
  assert.deepEqual(await treeOf(cache), recorded.cache);
});

test("of what Python's client has fetched nothing is fetched again", async (context) => {
  const { server, hub, cache } = await setUp(context);
  await fillAsPython(cache);
  assert.equal(await fetchEverything(hub), 0);
  assert.ok(server.requests.every(({ path }) => path.startsWith("/api/")));
  assert.deepEqual(await treeOf(cache), recorded.cache);
});

/** What the hub's cache holds, and when each file and directory was changed. */
async function changesOf(cache: string): Promise<[string, number][]> {
  const names = (await readdir(cache, { recursive: true })).sort();
  return Promise.all(names.map(async (name): Promise<[string, number]> => [name, (await lstat(join(cache, name))).mtimeMs]));
}

test("a cache that has everything is not written to", async (context) => {
  const { hub, cache } = await setUp(context);
  await fetchEverything(hub);
  const before = await changesOf(cache);
  assert.equal(await fetchEverything(hub), 0);
  assert.deepEqual(await changesOf(cache), before);
});

test("with the hub out of reach a branch is what it was when all of it was cached, and that is said", async (context) => {
  const { server, hub, cache } = await setUp(context);
  await fetchEverything(hub);
  const remote = await hub.resolve(SOURCES[0]!, signal);
  const away = createHub({ endpoint: "http://127.0.0.1:9", token: null, cacheDirectory: cache, timing: { stallMs: 5000, retryMs: 1 } });
  const notes: string[] = [];
  const cached = await away.resolve(SOURCES[0]!, signal, (note) => void notes.push(note));
  assert.deepEqual([cached.origin, cached.version, cached.files], [remote.origin, remote.version, remote.files]);
  assert.match(notes.at(-1)!, /ECONNREFUSED.*; going on with what the cache has$/);
  assert.match(cached.title, /^org\/m at [0-9a-f]{12} from the cache, for its source cannot be reached$/);
  assert.equal(await fetchEverything(away), 0);
  const commit = remote.origin.uri.split("@")[1]!;
  assert.deepEqual((await away.resolve({ ...SOURCES[0]!, revision: commit }, signal)).files, remote.files);
  await assert.rejects(away.resolve({ ...SOURCES[0]!, revision: "other" }, signal), { name: "UnreachableError" });

  // some of it is gone: the rest is not taken for all
  const { blob } = (await cached.fetch(cached.files, { signal, onBytes: () => {}, onNote: () => {} }))[1]!;
  await rm(blob);
  await assert.rejects(fetchEverything(away), { name: "UnreachableError" });
  await rm(join(cache, "models--org--m", "trees"), { recursive: true });
  await assert.rejects(away.resolve(SOURCES[0]!, signal), { name: "UnreachableError" });
  assert.equal(server.requests.filter(({ path }) => path.startsWith("/api/")).length, 3);
});

test("offline nothing is asked, and what Python's client has cached is used", async (context) => {
  const { server, cache } = await setUp(context);
  await fillAsPython(cache);
  const offline = createHub({ endpoint: server.url, token: null, cacheDirectory: cache, offline: true });
  assert.equal(await fetchEverything(offline), 0);
  const model = join(cache, "models--org--m");
  const { files } = await offline.resolve(SOURCES[0]!, signal);
  assert.deepEqual(files.map(({ path }) => path).sort(), ["config.json", "model.safetensors", "sub/empty.txt"]);
  assert.deepEqual((await readdir(model)).sort(), ["blobs", "refs", "snapshots"], "what is there is not noted as all that there is");
  await rm(join(model, "blobs", files.find(({ path }) => path === "config.json")!.digest.hex));
  assert.equal((await offline.resolve(SOURCES[0]!, signal)).files.length, 2);
  await assert.rejects(
    offline.resolve({ ...SOURCES[0]!, id: "org/absent" }, signal),
    /UnreachableError: .*org\/absent.* is not asked for: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set/,
  );
  assert.equal(server.requests.length, 0);
});
