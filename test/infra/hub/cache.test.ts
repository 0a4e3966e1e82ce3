import assert from "node:assert/strict";
import { lstat, mkdir, readFile, readdir, readlink, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { parseHubSource } from "../../../core/sources.js";
import { createHub, type Hub } from "../../../infra/hub/hub.js";
import { startTestHub, type TestHub } from "./harness.js";

/**
 * What huggingface_hub 2.4.0 left in its cache after `snapshot_download` of these files from this hub (test/reference),
 * without what is its own: locks, lists of files for itself, and a tag for backups.
 */
interface Recorded {
  readonly hub: Readonly<Record<string, string>>;
  readonly cache: Readonly<Record<string, { readonly text: string } | { readonly link: string }>>;
}

const recorded = JSON.parse(await readFile(new URL("../../../../test/reference/hub-cache.json", import.meta.url), "utf8")) as Recorded;
const SOURCES = [parseHubSource("models", "hf://org/m@main"), parseHubSource("datasets", "hf://org/d@main")];
const signal = new AbortController().signal;

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
  for (const name of await readdir(cache, { recursive: true })) {
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
  for (const [name, entry] of Object.entries(recorded.cache)) {
    await mkdir(dirname(join(cache, name)), { recursive: true });
    await ("text" in entry ? writeFile(join(cache, name), entry.text) : symlink(entry.link, join(cache, name)));
  }
  assert.equal(await fetchEverything(hub), 0);
  assert.ok(server.requests.every(({ path }) => path.startsWith("/api/")));
  assert.deepEqual(await treeOf(cache), recorded.cache);
});
