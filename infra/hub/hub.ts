import { randomUUID } from "node:crypto";
import { mkdir, readlink, rename, statfs, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { UserError } from "../../core/errors.js";
import { gigabytes } from "../../core/resources.js";
import type { HubReference } from "../../core/sources.js";
import { writeFileAtomic } from "../files.js";
import { bytesPresent, fetchBlob, type BlobEvents } from "./blob.js";
import { resolveRepository, type HubFile, type Repository } from "./repository.js";
import type { HubAccess, Watch } from "./request.js";

/** Where the hub is, and where its files are kept: the hub directory of the standard cache. */
export interface HubOptions extends HubAccess {
  readonly cacheDirectory: string;
}

/** A file of the hub that lies in the cache. */
export interface CachedFile {
  /** path in the repository */
  readonly path: string;
  /** the content-addressed file */
  readonly blob: string;
  readonly bytes: number;
  readonly sha256: string;
  /** bytes that came over the wire just now */
  readonly fetched: number;
}

/** A hub that speaks the Hugging Face protocol, through a cache that Python's clients read as well. */
export interface Hub {
  /** The commit and files that a reference means now. Throws UserError, or HubUnreachableError. */
  resolve(reference: HubReference, signal: AbortSignal, onNote?: Watch["onNote"]): Promise<Repository>;
  /** Bytes that `fetch` would bring over the wire. */
  missing(repository: Repository, files: readonly HubFile[]): Promise<number>;
  /** Throws UserError when the cache's disk has no room for so many bytes. */
  checkSpace(bytes: number): Promise<void>;
  /** Brings files into the cache, resuming what was begun; digests checked. */
  fetch(repository: Repository, files: readonly HubFile[], events: BlobEvents): Promise<readonly CachedFile[]>;
}

/** A hub client; it reads nothing from the environment. */
export function createHub(options: HubOptions): Hub {
  const access = { ...options, endpoint: options.endpoint.replace(/\/+$/, "") };
  const folder = ({ kind, id }: HubReference): string => join(options.cacheDirectory, `${kind}--${id.replaceAll("/", "--")}`);
  const blobOf = (repository: Repository, file: HubFile): string => join(folder(repository), "blobs", file.digest.hex);
  return {
    resolve: (reference, signal, onNote) => resolveRepository(access, reference, onNote === undefined ? { signal } : { signal, onNote }),
    async missing(repository, files) {
      let bytes = 0;
      for (const file of files) bytes += file.bytes - (await bytesPresent(blobOf(repository, file), file));
      return bytes;
    },
    async checkSpace(bytes) {
      await mkdir(options.cacheDirectory, { recursive: true }).catch((error: unknown) => {
        throw new UserError(
          "the hub's cache directory cannot be made: set HF_HOME to one that can",
          { directory: options.cacheDirectory },
          { cause: error },
        );
      });
      const { bavail, bsize } = await statfs(options.cacheDirectory);
      if (bytes > bavail * bsize)
        throw new UserError("the disk has too little room for the download: make room, or set HF_HOME to a larger disk", {
          directory: options.cacheDirectory,
          need: gigabytes(bytes),
          have: gigabytes(bavail * bsize),
        });
    },
    async fetch(repository, files, events) {
      const cached: CachedFile[] = [];
      let before = 0;
      for (const file of files) {
        const blob = blobOf(repository, file);
        const start = before;
        const { sha256, fetched } = await fetchBlob(access, repository, file, blob, {
          ...events,
          onBytes: (done) => events.onBytes(start + done),
        });
        await linkSnapshot(folder(repository), repository, file, blob);
        cached.push({ path: file.path, blob, bytes: file.bytes, sha256, fetched });
        before += file.bytes;
      }
      if (repository.revision !== repository.commit)
        await writeFileAtomic(join(folder(repository), "refs", repository.revision), repository.commit);
      return cached;
    },
  };
}

/** `snapshots/<commit>/<path>`, a relative link to the blob, as the standard cache has it. */
async function linkSnapshot(folder: string, repository: Repository, file: HubFile, blob: string): Promise<void> {
  const link = join(folder, "snapshots", repository.commit, file.path);
  const target = relative(dirname(link), blob);
  if ((await readlink(link).catch(() => null)) === target) return;
  await mkdir(dirname(link), { recursive: true });
  const temporary = `${link}.${randomUUID()}.tmp`;
  await symlink(target, temporary);
  await rename(temporary, link);
}
