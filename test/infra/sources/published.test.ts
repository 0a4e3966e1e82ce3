import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { CorruptError, UserError } from "../../../core/errors.js";
import { MANIFEST, type Manifest } from "../../../core/format/manifest.js";
import { sha256 } from "../../../infra/disk/files.js";
import { fetchPublished, openPublished } from "../../../infra/sources/published.js";

const root = mkdtempSync(join(tmpdir(), "roslin-published-"));
after(() => rmSync(root, { recursive: true }));
const FILES = { "config.json": "{}", "onnx/model.onnx": "a graph" };
const never = new AbortController().signal;
const all = (): boolean => true;

/** A target with one published model; its address, and the directory where its files lie. */
async function published(): Promise<{ uri: string; directory: string }> {
  const target = mkdtempSync(join(root, "target-"));
  const directory = join(target, "m-1");
  for (const [name, text] of Object.entries(FILES)) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), text);
  }
  const files = Object.entries(FILES).map(([name, text]) => ({ name, sha256: sha256(text), bytes: text.length }));
  const manifest: Manifest = {
    format: "roslin-manifest",
    version: 1,
    name: "m-1",
    files,
    chain: [],
    tuned: [],
    amended: [],
    fingerprint: null,
  };
  const text = JSON.stringify(manifest);
  await writeFile(join(directory, MANIFEST), text);
  await writeFile(join(target, "latest.json"), JSON.stringify({ name: "m-1", manifest: { sha256: sha256(text) } }));
  return { uri: pathToFileURL(target).href, directory };
}

test("the latest model of a target is fetched, what is wanted of it, and nothing twice", async () => {
  const { uri } = await published();
  const there = join(root, "there");
  const model = await openPublished(uri, {});
  assert.equal(model.uri, `${uri}/m-1`);
  await fetchPublished(model, there, (name) => name.endsWith(".json"), never);
  assert.deepEqual(readdirSync(there), ["config.json"]);
  const made = statSync(join(there, "config.json")).mtimeMs;
  await fetchPublished(model, there, all, never);
  assert.equal(statSync(join(there, "config.json")).mtimeMs, made);
  assert.equal(readFileSync(join(there, "onnx", "model.onnx"), "utf8"), FILES["onnx/model.onnx"]);
  writeFileSync(join(there, "config.json"), "[]");
  await fetchPublished(model, there, all, never);
  assert.equal(readFileSync(join(there, "config.json"), "utf8"), "{}", "what was changed here is fetched again");
});

test("a file that is not what its manifest says is named, and not kept", async () => {
  const { uri, directory } = await published();
  const model = await openPublished(uri, {});
  const there = join(root, "corrupt");
  writeFileSync(join(directory, "config.json"), "!!");
  await assert.rejects(
    fetchPublished(model, there, all, never),
    (error) => error instanceof CorruptError && /config\.json/.test(error.message),
  );
  assert.deepEqual(readdirSync(there), []);
  rmSync(join(directory, "config.json"));
  await assert.rejects(fetchPublished(model, there, all, never), /config\.json/);
});

test("where nothing is published, and where latest.json leads away, is said", async () => {
  await assert.rejects(openPublished(pathToFileURL(join(root, "nowhere")).href, {}), UserError);
  const { uri, directory } = await published();
  writeFileSync(join(dirname(directory), "latest.json"), JSON.stringify({ name: "../m-1", manifest: { sha256: "" } }));
  await assert.rejects(openPublished(uri, {}), /names no model/);
});

test("a Git LFS pointer in place of a manifest, of latest.json or of a published file is named", async () => {
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"4d7a".repeat(16)}\nsize 2336927\n`;
  for (const path of ["m-1/manifest.json", "latest.json", "m-1/config.json"]) {
    const { uri, directory } = await published();
    await writeFile(join(directory, "..", path), pointer);
    const bring = async (): Promise<void> => fetchPublished(await openPublished(uri, {}), join(directory, "../there"), all, never);
    await assert.rejects(bring(), { name: "UserError", message: /Git LFS pointer.*realFile=2336927/ });
  }
});
