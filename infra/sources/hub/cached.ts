import { createHash } from "node:crypto";
import { readdir, readFile, readlink, stat } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import type { HubReference } from "../../../core/config/source-ref.js";
import { writeFileAtomic } from "../../disk/files.js";
import type { RemoteFile } from "../remote.js";
import { parseRepository, type Repository } from "./repository.js";

/** Repositories as the standard cache knows them: which commit a branch was, and which files a commit has. */

/** A repository's directory in the cache. */
export function folderOf(cache: string, { kind, id }: HubReference): string {
  return join(cache, `${kind}--${id.replaceAll("/", "--")}`);
}

/** Notes which files a commit has, before they come, and only once; in the form that Python's client reads and writes. */
export async function noteFiles(folder: string, repository: Repository): Promise<void> {
  const path = listingOf(folder, repository.commit);
  if ((await stat(path).catch(() => null)) !== null) return;
  // a shared cache may be read-only, which does no harm while all files are there; a hub that doesn't state its files'
  // digests gets no list
  try {
    await writeFileAtomic(path, listing(repository));
  } catch {}
}

function listing({ files }: Repository): string {
  const listed = files.map(({ path, bytes, digest: { kind, hex } }) => [
    path,
    kind === "git" ? { size: bytes, blob_id: hex } : { size: bytes, blob_id: pointerId(hex, bytes), lfs_sha256: hex, lfs_size: bytes },
  ]);
  return JSON.stringify({ format_version: 1, files: Object.fromEntries(listed) as unknown }, null, 1);
}

/** Notes which commit a branch or tag is, unless the cache knows. */
export async function noteCommit(folder: string, { revision, commit }: Repository): Promise<void> {
  if (revision !== commit && (await notedCommit(folder, revision)) !== commit)
    await writeFileAtomic(join(folder, "refs", revision), commit);
}

/**
 * A repository as the cache knows it, without its hub; null: the cache doesn't know it. `partial`: if the cache has no list
 * of its files, the cached files count as all of them.
 */
export async function cachedRepository(folder: string, reference: HubReference, partial: boolean): Promise<Repository | null> {
  const commit = /^[0-9a-f]{40}$/.test(reference.revision) ? reference.revision : await notedCommit(folder, reference.revision);
  if (commit === null) return null;
  const files = (await notedFiles(folder, commit)) ?? (partial ? await filesThere(join(folder, "snapshots", commit)) : []);
  return files.length === 0 ? null : { ...reference, commit, files };
}

const listingOf = (folder: string, commit: string): string => join(folder, "trees", `${commit}.json`);

/** The blob id of the pointer that git keeps in place of a large file. */
function pointerId(hex: string, bytes: number): string {
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${hex}\nsize ${bytes}\n`;
  return createHash("sha1").update(`blob ${pointer.length}\0${pointer}`).digest("hex");
}

async function notedCommit(folder: string, revision: string): Promise<string | null> {
  const commit = (await readFile(join(folder, "refs", revision), "utf8").catch(() => "")).trim();
  return /^[0-9a-f]{40}$/.test(commit) ? commit : null;
}

interface Listing {
  readonly format_version: number;
  readonly files: Readonly<Record<string, { readonly size: number; readonly blob_id: string; readonly lfs_sha256?: string }>>;
}

/** The files in a commit's list; null: there is no list that can be read. */
async function notedFiles(folder: string, commit: string): Promise<readonly RemoteFile[] | null> {
  try {
    const { format_version, files } = JSON.parse(await readFile(listingOf(folder, commit), "utf8")) as Listing;
    if (format_version !== 1) return null;
    const siblings = Object.entries(files).map(([rfilename, { size, blob_id: blobId, lfs_sha256: sha256 }]) => ({
      ...{ rfilename, size, blobId },
      lfs: sha256 === undefined ? null : { sha256, size },
    }));
    return parseRepository({ sha: commit, siblings }).files;
  } catch {
    return null;
  }
}

/** The files of a snapshot that are links to blobs, whose names are their digests. */
async function filesThere(snapshot: string): Promise<RemoteFile[]> {
  const files: RemoteFile[] = [];
  for (const entry of await readdir(snapshot, { recursive: true, withFileTypes: true }).catch(() => [])) {
    const link = join(entry.parentPath, entry.name);
    const blob = entry.isSymbolicLink() ? await stat(link).catch(() => null) : null;
    if (blob === null) continue;
    const hex = basename(await readlink(link));
    const path = relative(snapshot, link).split(sep).join("/");
    if (/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hex))
      files.push({ path, bytes: blob.size, digest: { kind: hex.length === 40 ? "git" : "sha256", hex } });
  }
  return files;
}
