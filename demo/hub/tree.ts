import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { listFiles } from "../../infra/disk/files.js";

/** A file of a repository of the small hub. */
export interface TreeFile {
  readonly path: string;
  readonly bytes: number;
  /** git's blob id: sha1 over "blob <bytes>\0" and the bytes */
  readonly blobId: string;
  readonly sha256: string;
  /** kept as git LFS keeps it: named by its sha256 */
  readonly large: boolean;
}

/** A repository at one commit. */
export interface Tree {
  readonly isPrivate: boolean;
  readonly commit: string;
  readonly files: readonly TreeFile[];
  /** A file's bytes, `end` exclusive. */
  read(path: string, start: number, end: number): Readable;
}

const LARGE = /\.(safetensors|bin|parquet|onnx)$/;
const LARGE_BYTES = 10 * 2 ** 20;

/** Whether the real hub keeps a file in LFS: by its ending or its size. */
export const isLarge = (path: string, bytes: number): boolean => LARGE.test(path) || bytes > LARGE_BYTES;

const digested = new Map<string, { readonly stamp: string; readonly file: TreeFile }>();

/** Reads a directory as a repository whose one commit follows from its files' names and bytes; null: there is none. Files are digested again only if their size or time has changed. */
export async function readTree(directory: string): Promise<Tree | null> {
  const info = await stat(directory).catch(() => null);
  if (info === null || !info.isDirectory()) return null;
  const files: TreeFile[] = [];
  for (const path of await listFiles(directory)) files.push(await digest(directory, path));
  const commit = createHash("sha1")
    .update(files.map((file) => `${file.path}\0${file.sha256}\n`).join(""))
    .digest("hex");
  return {
    isPrivate: false,
    commit,
    files,
    read: (path, start, end) => createReadStream(join(directory, path), { start, end: end - 1, highWaterMark: 1 << 20 }),
  };
}

async function digest(directory: string, path: string): Promise<TreeFile> {
  const full = join(directory, path);
  const { size, mtimeMs, ino } = await stat(full);
  const stamp = `${size} ${mtimeMs} ${ino}`;
  const known = digested.get(full);
  if (known?.stamp === stamp) return known.file;
  const sha1 = createHash("sha1").update(`blob ${size}\0`);
  const sha256 = createHash("sha256");
  for await (const chunk of createReadStream(full, { highWaterMark: 1 << 20 })) {
    sha1.update(chunk as Buffer);
    sha256.update(chunk as Buffer);
  }
  const file = {
    path,
    bytes: size,
    blobId: sha1.digest("hex"),
    sha256: sha256.digest("hex"),
    large: isLarge(path, size),
  };
  digested.set(full, { stamp, file });
  return file;
}
