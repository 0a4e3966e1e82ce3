import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { listFiles } from "../../infra/disk/files.js";

/** A repository of the small hub: a directory, whose commit follows from its files' names and bytes. */
export interface TreeFile {
  readonly path: string;
  readonly bytes: number;
  /** git's blob id: sha1 over "blob <bytes>\0" and the bytes */
  readonly blobId: string;
  readonly sha256: string;
  /** kept as git LFS keeps it: named by its sha256 */
  readonly large: boolean;
}

/** A repository at its one commit. */
export interface Tree {
  readonly directory: string;
  readonly commit: string;
  readonly files: readonly TreeFile[];
}

/** Files that the real hub keeps in LFS, by ending or by size. */
const LARGE = /\.(safetensors|bin|parquet|onnx)$/;
const LARGE_BYTES = 10 * 2 ** 20;

const digested = new Map<string, { readonly stamp: string; readonly file: TreeFile }>();

/** Reads a repository; null: there is none. Files are digested again only if their size or time has changed. */
export async function readTree(directory: string): Promise<Tree | null> {
  const info = await stat(directory).catch(() => null);
  if (info === null || !info.isDirectory()) return null;
  const files: TreeFile[] = [];
  for (const path of await listFiles(directory)) files.push(await digest(directory, path));
  const commit = createHash("sha1")
    .update(files.map((file) => `${file.path}\0${file.sha256}\n`).join(""))
    .digest("hex");
  return { directory, commit, files };
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
    large: LARGE.test(path) || size > LARGE_BYTES,
  };
  digested.set(full, { stamp, file });
  return file;
}
