import { spawnSync } from "node:child_process";
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

/** A small disk that the chaos test fills: a tmpfs, if one may be mounted. */

/** Room for two runs at once. A full disk takes so much memory, not more. */
const BYTES = 1 << 30;

/** Mounts a small file system at a directory. Returns false if this process may not. */
export function mountSmallDisk(directory: string): boolean {
  return spawnSync("mount", ["-t", "tmpfs", "-o", `size=${BYTES},mode=700`, "roslin-chaos", directory]).status === 0;
}

/** Unmounts the small disk. Throws while a process uses it. */
export function unmountSmallDisk(directory: string): void {
  const { status, stderr } = spawnSync("umount", [directory], { encoding: "utf8" });
  if (status !== 0) throw new Error(`the small disk cannot be unmounted: ${stderr.trim()}`);
}

/** Takes every free byte of the disk that holds a directory. Returns a function that gives them back. */
export function fillDisk(directory: string): () => void {
  const ballast = join(directory, "ballast");
  const file = openSync(ballast, "w");
  for (let bytes = 1 << 20; bytes > 0;)
    try {
      writeSync(file, Buffer.alloc(bytes));
    } catch {
      // smaller and smaller pieces, until none fits
      bytes >>= 1;
    }
  closeSync(file);
  return () => rmSync(ballast, { force: true });
}
