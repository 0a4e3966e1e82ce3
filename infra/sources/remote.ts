import { mkdir, statfs } from "node:fs/promises";
import type { Manifest } from "../../core/format/manifest.js";
import { NoRoomError, UserError } from "../../core/errors.js";
import { bytes as readable } from "../../core/units.js";
import type { Origin } from "../../core/stages/results.js";
import type { CachedFile, FetchEvents } from "../transfer/fetch.js";

/** A file of a remote place at one version. */
export interface RemoteFile {
  /** path in the place, with slashes */
  readonly path: string;
  readonly bytes: number;
  readonly digest: RemoteDigest;
}

/** How the place identifies a file's bytes: by sha256; by git's blob id, the sha1 over "blob <bytes>\0" and the bytes; or by a version that may not be a digest (S3's ETag). */
export interface RemoteDigest {
  readonly kind: "sha256" | "git" | "etag";
  readonly hex: string;
}

/** A remote place at one version: a repository at a commit, a published model, a prefix of a bucket. */
export interface Remote {
  readonly origin: Origin;
  /** for people */
  readonly title: string;
  /** tells one version from another, short enough for a directory's name */
  readonly version: string;
  readonly files: readonly RemoteFile[];
  /** of a model that Roslin published */
  readonly published?: { readonly uri: string; readonly manifest: Manifest };
  /** These files with the size and digest of each, asked for one by one if `files` lacks them. Throws UserError if the place doesn't state them. */
  stated(files: readonly RemoteFile[], signal: AbortSignal): Promise<readonly RemoteFile[]>;
  /** The first `length` bytes of a file, and how many came over the wire; null: the place sends whole files only. */
  start(file: RemoteFile, length: number, signal: AbortSignal): Promise<{ readonly bytes: Uint8Array; readonly fetched: number } | null>;
  /** Bytes that `fetch` would bring over the wire. */
  missing(files: readonly RemoteFile[]): Promise<number>;
  /** Throws NoRoomError if the cache's disk has less room than `bytes`. */
  checkSpace(bytes: number): Promise<void>;
  /** Brings files into the cache, resuming what was begun; digests checked. */
  fetch(files: readonly RemoteFile[], events: FetchEvents): Promise<readonly CachedFile[]>;
}

/** Throws UserError if a cache cannot be made, NoRoomError if its disk has less room than `bytes`; `remedy` names the setting to change. */
export async function checkRoom(directory: string, bytes: number, remedy: string): Promise<void> {
  await mkdir(directory, { recursive: true }).catch((error: unknown) => {
    throw new UserError(`the directory for downloads cannot be created: set ${remedy} to another one`, { directory }, { cause: error });
  });
  const { bavail, bsize } = await statfs(directory);
  if (bytes > bavail * bsize)
    throw new NoRoomError(`the disk has too little room for the download: make room, or set ${remedy} to a larger disk`, {
      directory,
      need: readable(bytes),
      have: readable(bavail * bsize),
    });
}
