import { readFileSync, statSync } from "node:fs";
import { UserError } from "../../core/errors.js";
import { bytes as readable } from "../../core/units.js";

/** The most bytes that a Git LFS pointer has. */
export const LFS_POINTER_BYTES = 1024;

/** Today's first line, and that of the first releases, whose pointers still lie in old repositories. */
const VERSION = /^version https:\/\/(?:git-lfs\.github\.com|hawser\.github\.com|git-media\.io)\/(?:spec\/)?v[\w.-]+\r?\n/;

/** Bytes of the file that a Git LFS pointer stands for; null: the content is not a pointer. */
export function lfsPointerSize(content: Uint8Array): number | null {
  if (content.length > LFS_POINTER_BYTES) return null;
  const text = Buffer.from(content).toString("latin1");
  if (!VERSION.test(text) || !/^oid sha256:[0-9a-f]{64}\r?$/m.test(text)) return null;
  const [, size] = /^size (\d{1,16})\r?$/m.exec(text) ?? [];
  return size === undefined ? null : Number(size);
}

/** Throws UserError if a file's content is a Git LFS pointer; `file` names it in the message. */
export function refuseLfsContent(content: Uint8Array, file: string): void {
  const size = lfsPointerSize(content);
  if (size === null) return;
  throw new UserError(
    "a file is a Git LFS pointer, which stands for the real file: run `git lfs pull` in its repository, or download the real file",
    { file, realFile: size < 1000 ? `${size} bytes` : `${size} bytes (${readable(size)})`, pointer: `${content.length} bytes` },
  );
}

/** Throws UserError if the file at `path` is a Git LFS pointer: a repository that was cloned without its large files has them. A file that is missing is not one. */
export function refuseLfsPointer(path: string): void {
  const info = statSync(path, { throwIfNoEntry: false });
  if (info?.isFile() === true && info.size <= LFS_POINTER_BYTES) refuseLfsContent(readFileSync(path), path);
}
