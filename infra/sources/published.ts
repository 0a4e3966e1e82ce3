import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { publishedAddress, withoutSlashes } from "../../core/config/source-ref.js";
import { CorruptError, ForbiddenError, UserError } from "../../core/errors.js";
import { parseLatest } from "../../core/format/latest.js";
import { MANIFEST, parseManifest, type Manifest } from "../../core/format/manifest.js";
import { placeFile, sha256, sha256File } from "../disk/files.js";
import { LFS_POINTER_BYTES, refuseLfsContent } from "../disk/lfs-pointer.js";
import { fileStoreAt } from "../store/file-store.js";
import type { HubAccess } from "./hub/access.js";
import { isOther } from "./other-manifest.js";
import type { PublishedFiles } from "./published-files.js";
import type { S3Settings } from "../store/s3-store.js";
import { readAll, type ObjectStore } from "../store/store.js";

/** A published model, found by its address. */
export interface Published {
  readonly uri: string;
  readonly store: PublishedFiles;
  readonly manifest: Manifest;
  /** of the manifest's own bytes */
  readonly sha256: string;
}

/** How the places are reached where models are published. */
export interface PublishedAccess extends S3Settings {
  /** needed for addresses on the hub */
  readonly hub?: HubAccess;
}

/** Opens a published model, or the latest one of a target (with or without /latest.json; on the hub, what main holds). Throws UserError when neither is there. */
export async function openPublished(uri: string, access: PublishedAccess, signal?: AbortSignal): Promise<Published> {
  const target = publishedAddress(uri);
  const found = await findPublished(target, access, signal);
  if (found !== null) return found;
  const missing = target.startsWith("hf:") ? "no manifest.json that Roslin wrote" : "no manifest.json and no latest.json";
  throw new UserError(`nothing is published there: ${missing}`, { uri: target });
}

/** The published model at an address, or the latest one of the target there; null: there is neither, or Roslin did not publish it. Throws CorruptError if it is damaged. */
export async function findPublished(uri: string, access: PublishedAccess, signal?: AbortSignal): Promise<Published | null> {
  const place = withoutSlashes(uri);
  const { hub, ...settings } = access;
  if (place.startsWith("hf:")) return await findOnHub(place, hub, signal);
  const store = await storeAt(place, settings, signal);
  // without the right to list, S3 calls a missing manifest forbidden: latest.json tells
  let forbidden: ForbiddenError | null = null;
  const own = await readAll(store, MANIFEST).catch((error: unknown) => {
    if (!(error instanceof ForbiddenError)) throw error;
    forbidden = error;
    return null;
  });
  if (own !== null) return isOther(own, `${place}/${MANIFEST}`) ? null : opened(place, store, own);
  const pointer = await readAll(store, "latest.json").catch((error: unknown) => {
    throw forbidden ?? error;
  });
  if (pointer === null) return null;
  refuseLfsContent(pointer, `${place}/latest.json`);
  const { name, manifest } = parseLatest(Buffer.from(pointer).toString(), place);
  const latest = `${place}/${name}`;
  const there = await storeAt(latest, settings, signal);
  const bytes = await readAll(there, MANIFEST);
  if (bytes === null) throw new CorruptError("the model that latest.json names has no manifest", { uri: latest });
  refuseLfsContent(bytes, `${latest}/${MANIFEST}`);
  const expected = manifest.sha256;
  if (sha256(bytes) !== expected)
    throw new CorruptError("a manifest is not the one that latest.json names", { uri: latest, expected, got: sha256(bytes) });
  return opened(latest, there, bytes);
}

async function findOnHub(uri: string, hub: HubAccess | undefined, signal = new AbortController().signal): Promise<Published | null> {
  if (hub === undefined) throw new Error(`no hub is given [uri=${uri}]`);
  const [{ publishedOnHub }, { accessOf }] = await Promise.all([import("./hub/published-on-hub.js"), import("./hub/hub.js")]);
  return await publishedOnHub(accessOf(hub), uri, signal);
}

/** Local ones are opened without loading S3's SDK. */
async function storeAt(uri: string, settings: S3Settings, signal?: AbortSignal): Promise<ObjectStore> {
  return uri.startsWith("file:") ? fileStoreAt(uri) : (await import("../store/open-store.js")).openStore(uri, settings, undefined, signal);
}

function opened(uri: string, store: Published["store"], bytes: Uint8Array): Published {
  return { uri, store, manifest: parseManifest(Buffer.from(bytes).toString(), `${uri}/${MANIFEST}`), sha256: sha256(bytes) };
}

/** Digest and size of a published file as it is now; null when it is gone. */
export async function digestPublished(
  store: Published["store"],
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
      let start = Buffer.alloc(0);
      for await (const chunk of chunks) {
        signal.throwIfAborted();
        hash.update(chunk);
        if (start.length <= LFS_POINTER_BYTES) start = Buffer.concat([start, chunk]);
        await file.writeFile(chunk);
      }
      const got = hash.digest("hex");
      if (got !== expected) refuseLfsContent(start, `${uri}/${name}`);
      if (got !== expected)
        throw new CorruptError("a published file is not what its manifest says", { uri: `${uri}/${name}`, expected, got });
    });
  }
}
