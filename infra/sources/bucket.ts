import { basename, join } from "node:path";
import { parseSource, type S3Ref } from "../../core/config/source-ref.js";
import { CorruptError, messageOf, UnreachableError, UserError } from "../../core/errors.js";
import { sha256 } from "../disk/files.js";
import { findPublished, type Published } from "./published.js";
import { bytesPresent, type WantedBlob } from "../transfer/blob.js";
import { fetchAll } from "../transfer/fetch.js";
import { readStart } from "../transfer/start.js";
import { digestOfObject, listObjects, objectSource, type ListedObject, type ObjectAccess } from "./objects.js";
import { checkRoom, type Remote, type RemoteFile } from "./remote.js";
import type { S3Settings } from "../store/s3-store.js";

/** How buckets are reached, and where what comes from them is kept. */
export interface BucketOptions {
  readonly settings: S3Settings;
  readonly cacheDirectory: string;
  readonly timing?: ObjectAccess["timing"];
}

/** Buckets as places that models and datasets come from. */
export interface Buckets {
  /**
   * What lies at `s3://bucket/prefix` now: one object, the objects below it, or a model that Roslin published, which may be
   * the one that a target's `latest.json` names. Throws UserError, CorruptError for a damaged manifest, or UnreachableError.
   */
  open(name: "model" | "dataset", source: string, signal: AbortSignal): Promise<Remote>;
}

/** Buckets behind these settings; nothing is read from the environment but by the AWS provider chain. */
export function createBuckets(options: BucketOptions): Buckets {
  return {
    async open(name, source, signal) {
      const ref = parseSource(source);
      if (ref.kind !== "s3") throw new UserError("a source is not in a bucket", { expected: "s3://bucket/prefix", got: source });
      const { bucket, key } = ref;
      const { settings, timing } = options;
      const access = timing === undefined ? { settings, bucket } : { settings, bucket, timing };
      try {
        if (name === "model") return await lookForModel(options.cacheDirectory, access, ref, source, signal);
        return plainRemote(options.cacheDirectory, access, key, await objectsAt(access, key, source, signal));
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof UserError || error instanceof CorruptError) throw error;
        throw new UnreachableError(`${source} cannot be read: ${messageOf(error)}`, { cause: error });
      }
    },
  };
}

async function lookForModel(
  cache: string,
  access: ObjectAccess,
  { key: named, latest }: S3Ref,
  source: string,
  signal: AbortSignal,
): Promise<Remote> {
  // a model's own directory may be called latest, too
  const isPlain = latest === null || (await listObjects(access, named, signal)).some(({ key }) => key !== named);
  const prefix = isPlain ? named : latest;
  const objects = await objectsAt(access, prefix, source, signal);
  const names = objects.map(({ key }) => nameBelow(prefix, key));
  if (names.includes("manifest.json") || names.includes("latest.json")) {
    const published = await findPublished(addressOf(access, prefix), access.settings, signal);
    if (published !== null) return publishedRemote(cache, access, published);
  }
  return plainRemote(cache, access, prefix, objects);
}

async function objectsAt(access: ObjectAccess, prefix: string, source: string, signal: AbortSignal): Promise<ListedObject[]> {
  const objects = await listObjects(access, prefix, signal);
  if (objects.length === 0) throw new UserError("nothing is there: check the source's bucket and prefix", { source });
  return objects;
}

function addressOf({ bucket }: ObjectAccess, prefix: string): string {
  return `s3://${bucket}${prefix === "" ? "" : `/${prefix}`}`;
}

/** An object's path below a prefix; for the prefix itself, its last part. */
function nameBelow(prefix: string, key: string): string {
  if (key === prefix) return basename(key);
  return prefix === "" ? key : key.slice(prefix.length + 1);
}

/** A model that Roslin published: its manifest states every digest. */
function publishedRemote(cache: string, access: ObjectAccess, { uri, manifest, sha256 }: Published): Remote {
  const below = uri.slice(`s3://${access.bucket}/`.length);
  const files = manifest.files.map(({ name, bytes, sha256: hex }): RemoteFile => ({ path: name, bytes, digest: { kind: "sha256", hex } }));
  const wanted = ({ path, bytes, digest: { hex } }: RemoteFile): Promise<WantedBlob> => {
    const source = objectSource({ access, key: `${below}/${path}`, etag: null });
    return Promise.resolve({ name: path, blob: join(cache, hex), bytes, source, digest: { kind: "sha256", hex } });
  };
  const blobOf = ({ digest }: RemoteFile): string => join(cache, digest.hex);
  return remoteOf(
    cache,
    { origin: { uri, manifest: sha256 }, version: sha256.slice(0, 12), files, published: { uri, manifest } },
    blobOf,
    wanted,
  );
}

/** Objects that Roslin did not publish: their ETags fix the version, and each object's digest is used if it has one. */
function plainRemote(cache: string, access: ObjectAccess, prefix: string, objects: readonly ListedObject[]): Remote {
  const uri = addressOf(access, prefix);
  const single = objects.find(({ key }) => key === prefix);
  const listed = single === undefined ? objects : [single];
  const keys = new Map(listed.map((object) => [nameBelow(prefix, object.key), object]));
  for (const path of keys.keys())
    if (/(^|\/)(\.\.?)?(\/|$)|\\|\0/.test(path)) throw new UserError("an object's name leaves its directory", { source: uri, got: path });
  const files = [...keys].map(([path, { bytes, etag }]): RemoteFile => ({ path, bytes, digest: { kind: "etag", hex: etag } }));
  const blobOf = ({ path, bytes, digest }: RemoteFile): string =>
    join(cache, `etag-${sha256(`${access.bucket}\0${keys.get(path)!.key}\0${digest.hex}\0${bytes}`).slice(0, 40)}`);
  const wanted = async (file: RemoteFile, signal: AbortSignal): Promise<WantedBlob> => {
    const { key, etag } = keys.get(file.path)!;
    const source = objectSource({ access, key, etag });
    return { name: file.path, blob: blobOf(file), bytes: file.bytes, source, digest: await digestOfObject(access, key, signal) };
  };
  const version = sha256(listed.map(({ key, etag }) => `${key}\0${etag}\n`).join("")).slice(0, 12);
  return remoteOf(cache, { origin: { uri }, version, files }, blobOf, wanted);
}

function remoteOf(
  cache: string,
  place: Pick<Remote, "origin" | "version" | "files" | "published">,
  blobOf: (file: RemoteFile) => string,
  wanted: (file: RemoteFile, signal: AbortSignal) => Promise<WantedBlob>,
): Remote {
  return {
    ...place,
    title: place.origin.uri,
    stated: (files) => Promise.resolve(files),
    start: async (file, length, signal) => readStart(await wanted(file, signal), length, signal),
    async missing(files) {
      let bytes = 0;
      for (const file of files) bytes += file.bytes - (await bytesPresent(blobOf(file), file.bytes));
      return bytes;
    },
    checkSpace: (bytes) => checkRoom(cache, bytes, "ROSLIN_HOME"),
    fetch: async (files, events) => fetchAll(await Promise.all(files.map((file) => wanted(file, events.signal))), events),
  };
}
