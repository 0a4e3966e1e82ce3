import assert from "node:assert/strict";
import { test } from "node:test";
import { baseInManifest, namedBase, pinnedSource } from "../../../activities/download/adapter-base.js";
import { publicBase } from "../../../activities/publish/model-parts.js";

test("a published adapter names its base as others find it, and no path", () => {
  const base = (uri: string, of?: string): unknown =>
    publicBase({ origin: { uri, ...(of !== undefined && { base: { uri: of, files: [] } }) } });
  assert.deepEqual(base("hf://org/m@abc123"), { name: "org/m", revision: "abc123" });
  assert.deepEqual(base("s3://bucket/models/m-1"), { name: "s3://bucket/models/m-1", revision: null });
  assert.deepEqual(base("a-published-name"), { name: null, revision: null });
  assert.deepEqual(publicBase({}), { name: null, revision: null });
  // of a repository with several files the one that was read
  const gguf = { file: "m-q8_0.gguf", sha256: "0".repeat(64) };
  const named = { name: "hf://org/m@abc123/m-q8_0.gguf", revision: null };
  assert.deepEqual(publicBase({ origin: { uri: "hf://org/m@abc123", gguf } }), named);
  assert.deepEqual(publicBase({ origin: { uri: "my-adapter", base: { uri: "hf://org/m@abc123/m-q8_0.gguf", gguf, files: [] } } }), named);
  assert.deepEqual(namedBase(named, "an adapter", true), { source: named.name, digest: null });
  // of a run that went on with an adapter
  assert.deepEqual(base("s3://bucket/adapter", "hf://org/m@abc123"), { name: "org/m", revision: "abc123" });
});

test("a base is asked for again at the version that it had, a file of a repository too", () => {
  assert.equal(pinnedSource("hf://org/m@main", "hf://org/m@abc123"), "hf://org/m@abc123");
  assert.equal(pinnedSource("hf://org/m", "hf://org/m@abc123"), "hf://org/m@abc123");
  assert.equal(pinnedSource("hf://org/m@main/model.gguf", "hf://org/m@abc123"), "hf://org/m@abc123/model.gguf");
  assert.equal(pinnedSource("s3://bucket/latest.json", "s3://bucket/m-1"), "s3://bucket/m-1");
  assert.equal(pinnedSource("file:sha256-0", "m-1"), "m-1");
});

test("a manifest says where a base is: at an address, beside the adapter, or by its digest alone", () => {
  const sha256 = "0".repeat(64);
  const inManifest = (model: string, origin?: object): unknown =>
    baseInManifest(
      {
        chain: [
          {
            stage: "download",
            version: 2,
            settings: { model },
            inputs: [],
            key: sha256,
            outputs: [{ name: "model", sha256, bytes: 1, ...(origin && { origin }) }],
          },
        ],
      } as unknown as Parameters<typeof baseInManifest>[0],
      "file:///models/adapter-1",
    );
  assert.deepEqual(inManifest("hf://org/m", { uri: "hf://org/m@abc" }), { source: "hf://org/m@abc", digest: null });
  assert.deepEqual(inManifest("file:sha256-1", { uri: "m-1", manifest: sha256 }), { source: "file:///models/m-1", digest: sha256 });
  // what a prefix of a bucket holds may change
  assert.deepEqual(inManifest("s3://b/m", { uri: "s3://b/m" }), { source: "s3://b/m", digest: sha256 });
  assert.deepEqual(inManifest("file:sha256-1"), { source: null, digest: sha256 });
  assert.deepEqual(inManifest("s3://b/adapter", { uri: "s3://b/adapter", base: { uri: "hf://org/m@abc", files: [] } }), {
    source: "hf://org/m@abc",
    digest: null,
  });
});

test("a foreign config names its base by the hub's name, a path or a URL", () => {
  const named = (name: string | null, revision: string | null = null, isHere = true): unknown =>
    namedBase({ name, revision }, "an adapter", isHere)?.source ?? null;
  assert.equal(named("org/m", "v1"), "hf://org/m@v1");
  assert.equal(named("gpt2"), "hf://gpt2");
  assert.equal(named("/a b/m"), "file:///a%20b/m");
  assert.equal(named("s3://bucket/m"), "s3://bucket/m");
  assert.equal(named(null), null);
  assert.throws(() => named("/a/m", null, false), /a directory of the machine where it was made/);
  assert.throws(() => named("file:///a/m", null, false), /a directory of the machine where it was made/);
  assert.throws(() => named("./m"), /names no base that Roslin finds/);
});
