import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { CorruptError, UserError } from "../core/errors.js";
import { MANIFEST, parseManifest, type Manifest } from "../core/format/manifest.js";
import { placeFile, sha256, sha256File } from "./files.js";
import { openStore } from "./store/open.js";
import type { S3Settings } from "./store/s3.js";
import { readAll, type ObjectStore } from "./store/store.js";

/** A published model, found by its address. */
export interface Published {
  readonly uri: string;
  readonly store: ObjectStore;
  readonly manifest: Manifest;
}

/** Opens a published model, or the latest one of a target (with or without /latest.json). Throws UserError when neither is there. */
export async function openPublished(uri: string, settings: S3Settings): Promise<Published> {
  const place = uri.replace(/\/+$/, "").replace(/\/latest(\.json)?$/, "");
  const store = openStore(place, settings);
  const own = await readAll(store, MANIFEST);
  if (own !== null) return { uri: place, store, manifest: parseManifest(Buffer.from(own).toString(), `${place}/${MANIFEST}`) };
  const pointer = await readAll(store, "latest.json");
  if (pointer === null) throw new UserError("nothing is published there: no manifest.json and no latest.json", { uri: place });
  const { name, manifest } = JSON.parse(Buffer.from(pointer).toString()) as { name?: unknown; manifest?: { sha256?: unknown } };
  if (typeof name !== "string" || name.includes("/") || name.startsWith("."))
    throw new CorruptError("latest.json names no model", { uri: place, got: String(name) });
  const latest = `${place}/${name}`;
  const text = await readAll(openStore(latest, settings), MANIFEST);
  if (text === null) throw new CorruptError("the model that latest.json names has no manifest", { uri: latest });
  if (sha256(text) !== manifest?.sha256)
    throw new CorruptError("a manifest is not the one that latest.json names", {
      uri: latest,
      expected: String(manifest?.sha256),
      got: sha256(text),
    });
  return {
    uri: latest,
    store: openStore(latest, settings),
    manifest: parseManifest(Buffer.from(text).toString(), `${latest}/${MANIFEST}`),
  };
}

/** Digest and size of a published file as it is now; null when it is gone. */
export async function digestPublished(
  store: ObjectStore,
  name: string,
  signal: AbortSignal,
): Promise<{ readonly sha256: string; readonly bytes: number } | null> {
  const chunks = await store.read(name);
  if (chunks === null) return null;
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { sha256: hash.digest("hex"), bytes };
}

/** Brings the files of a published model that `wanted` names into a directory; those that are there with their digest stay. */
export async function fetchPublished(
  { uri, store, manifest }: Published,
  directory: string,
  wanted: (name: string) => boolean,
  signal: AbortSignal,
): Promise<void> {
  for (const { name, sha256: expected, bytes } of manifest.files.filter((file) => wanted(file.name))) {
    const path = join(directory, name);
    const there = await stat(path).catch(() => null);
    if (there?.size === bytes && (await sha256File(path, signal)) === expected) continue;
    const chunks = await store.read(name);
    if (chunks === null) throw new CorruptError("a published file is gone", { uri: `${uri}/${name}` });
    await placeFile(path, async (file) => {
      const hash = createHash("sha256");
      for await (const chunk of chunks) {
        signal.throwIfAborted();
        hash.update(chunk);
        await file.writeFile(chunk);
      }
      const got = hash.digest("hex");
      if (got !== expected)
        throw new CorruptError("a published file is not what its manifest says", { uri: `${uri}/${name}`, expected, got });
    });
  }
}
