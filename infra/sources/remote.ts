import { mkdir, statfs } from "node:fs/promises";
import { NoRoomError, UserError } from "../../core/errors.js";
import { bytes as readable } from "../../core/units.js";
import type { Origin } from "../../core/stages/stage.js";
import type { CachedFile, FetchEvents } from "../transfer/fetch.js";

/** A file of a remote place at one version. */
export interface RemoteFile {
  /** path in the place, with slashes */
  readonly path: string;
  readonly bytes: number;
  readonly digest: RemoteDigest;
}

/** What the place states of a file's bytes: sha256; git's blob id, the sha1 over "blob <bytes>\0" and the bytes; or a version that need not be a digest (S3's ETag). */
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
  /** These files with what the place says of each, asked for one by one where `files` has it not. Throws UserError where it says nothing. */
  stated(files: readonly RemoteFile[], signal: AbortSignal): Promise<readonly RemoteFile[]>;
  /** Bytes that `fetch` would bring over the wire. */
  missing(files: readonly RemoteFile[]): Promise<number>;
  /** Throws NoRoomError when the cache's disk has no room for so many bytes. */
  checkSpace(bytes: number): Promise<void>;
  /** Brings files into the cache, resuming what was begun; digests checked. */
  fetch(files: readonly RemoteFile[], events: FetchEvents): Promise<readonly CachedFile[]>;
}

/** Throws UserError when a cache cannot be made, NoRoomError when its disk has no room for so many bytes; `remedy` names the setting. */
export async function checkRoom(directory: string, bytes: number, remedy: string): Promise<void> {
  await mkdir(directory, { recursive: true }).catch((error: unknown) => {
    throw new UserError(`the directory for downloads cannot be made: set ${remedy} to one that can`, { directory }, { cause: error });
  });
  const { bavail, bsize } = await statfs(directory);
  if (bytes > bavail * bsize)
    throw new NoRoomError(`the disk has too little room for the download: make room, or set ${remedy} to a larger disk`, {
      directory,
      need: readable(bytes),
      have: readable(bavail * bsize),
    });
}
