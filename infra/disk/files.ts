import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Artifact } from "../../core/stages/results.js";
import { bytes as readable } from "../../core/units.js";

/** Local files, written so that a half one can never be taken for a whole one. */

/** SHA-256 of bytes, in hex. */
export function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** SHA-256 of a file, in hex, read in slices of 1 MiB. */
export async function sha256File(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** Makes a rename or a new file in `directory` survive a power loss. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Adds to a full disk's error the file that had no room, and its size; gives any other error back as it is. */
export function withFile(error: unknown, path: string, need?: number): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  const size = need === undefined ? "" : `, need=${readable(need)}`;
  return Object.assign(new Error(`${message} [file=${path}${size}]`, { cause: error }), { code });
}

/**
 * Lets `write` fill a file that gets its name whole or not at all: temporary name, fsync, rename, fsync of the directory.
 * `bytes`: its size, if it is known before. `temporary`: the temporary name; a fixed one, for a file that has one writer, is
 * written over by the next try, so that kills leave one half file at most.
 */
export async function placeFile(
  path: string,
  write: (file: FileHandle) => Promise<void>,
  {
    mode = 0o666,
    bytes,
    // two writers in one process, such as two runs in a worker, must not share it
    temporary = `${path}.${randomUUID()}.tmp`,
  }: { readonly mode?: number | undefined; readonly bytes?: number; readonly temporary?: string } = {},
): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  try {
    const file = await open(temporary, "w", mode);
    try {
      await write(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw withFile(error, path, bytes);
  }
  await syncDirectory(dirname(path));
}

/** Writes a file whole or not at all. `mode`: its permissions. */
export async function writeFileAtomic(path: string, bytes: Uint8Array | string, mode?: number): Promise<void> {
  await placeFile(path, (file) => file.writeFile(bytes), { mode, bytes: Buffer.byteLength(bytes) });
}

/** Paths of the files below a directory, relative to it with slashes, in byte order; links are followed. */
export async function listFiles(directory: string): Promise<string[]> {
  const names: string[] = [];
  const walk = async (below: string): Promise<void> => {
    for (const name of await readdir(join(directory, below))) {
      const path = below === "" ? name : `${below}/${name}`;
      if ((await stat(join(directory, path))).isDirectory()) await walk(path);
      else names.push(path);
    }
  };
  await walk("");
  return names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

/** Digest of a directory from its files' digests: SHA-256 over lines "<name>\0<sha256>\n" sorted by name in byte order. */
export function directoryDigest(files: readonly { readonly name: string; readonly sha256: string }[]): string {
  const sorted = [...files].sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  return sha256(sorted.map((file) => `${file.name}\0${file.sha256}\n`).join(""));
}

/** A reference to a local file or directory, digested now. */
export async function artifactOf(name: string, path: string, signal?: AbortSignal): Promise<Artifact> {
  const info = await stat(path);
  const uri = pathToFileURL(path).href;
  if (!info.isDirectory()) return { name, uri, sha256: await sha256File(path, signal), bytes: info.size };
  const files = [];
  let bytes = 0;
  for (const file of await listFiles(path)) {
    bytes += (await stat(join(path, file))).size;
    files.push({ name: file, sha256: await sha256File(join(path, file), signal) });
  }
  return { name, uri, sha256: directoryDigest(files), bytes };
}
