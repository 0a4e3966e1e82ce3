import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import type { Tree, TreeFile } from "./tree.js";

/** Repositories that were made over the protocol: kept in memory with their history. */

/** A file of a commit, with its bytes. */
export interface StoredFile extends TreeFile {
  readonly content: Buffer;
}

/** A commit. */
export interface Commit {
  readonly oid: string;
  readonly parent: string | null;
  readonly title: string;
  readonly files: ReadonlyMap<string, StoredFile>;
}

const hashed = (algorithm: string, ...parts: readonly (string | Buffer)[]): string => {
  const hash = createHash(algorithm);
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};

/** SHA-256 of some bytes, in hex. */
export const sha256 = (bytes: Buffer): string => hashed("sha256", bytes);

/** A file as a commit holds it; of one in LFS git has the pointer, and so its blob id. */
export function stored(path: string, content: Buffer, large: boolean): StoredFile {
  const digest = sha256(content);
  const blob = large ? Buffer.from(`version https://git-lfs.github.com/spec/v1\noid sha256:${digest}\nsize ${content.length}\n`) : content;
  return { path, content, large, bytes: content.length, sha256: digest, blobId: hashed("sha1", `blob ${blob.length}\0`, blob) };
}

/** What LFS a new repository uses for which names. */
const ATTRIBUTES = ["*.safetensors", "*.bin", "*.onnx", "*.parquet"]
  .map((name) => `${name} filter=lfs diff=lfs merge=lfs -text\n`)
  .join("");

/** A repository with branches and tags; it begins with one commit of .gitattributes, as on the real hub. */
export class WrittenRepository {
  readonly commits = new Map<string, Commit>();
  readonly branches = new Map<string, string>();
  readonly tags = new Map<string, string>();
  /** LFS objects by their digest */
  readonly objects = new Map<string, Buffer>();

  readonly id: string;
  readonly isPrivate: boolean;

  constructor(id: string, isPrivate: boolean) {
    this.id = id;
    this.isPrivate = isPrivate;
    this.add("main", null, "initial commit", new Map([[".gitattributes", stored(".gitattributes", Buffer.from(ATTRIBUTES), false)]]));
  }

  /** Puts a commit on a branch, and returns its id. */
  add(branch: string, parent: string | null, title: string, files: ReadonlyMap<string, StoredFile>): string {
    const listed = [...files.values()].map(({ path, blobId }) => `${path}\0${blobId}\n`).sort();
    const oid = hashed("sha1", `${parent}\n${title}\n${this.commits.size}\n`, ...listed);
    this.commits.set(oid, { oid, parent, title, files });
    this.branches.set(branch, oid);
    return oid;
  }

  /** The commit that a branch, a tag or a commit's own id names; null: there is none. */
  at(revision: string): Commit | null {
    return this.commits.get(this.branches.get(revision) ?? this.tags.get(revision) ?? revision) ?? null;
  }

  /** The files at a revision, as a download reads them; null: there is no such revision. */
  tree(revision: string): Tree | null {
    const commit = this.at(revision);
    if (commit === null) return null;
    return {
      isPrivate: this.isPrivate,
      commit: commit.oid,
      files: [...commit.files.values()].sort((a, b) => (a.path < b.path ? -1 : 1)),
      read: (path, start, end) => Readable.from([commit.files.get(path)!.content.subarray(start, end)]),
    };
  }
}
