import { link, mkdir, readdir, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";

/** A file of a directory made of links. */
export interface Link {
  /** path in the directory, with slashes */
  readonly path: string;
  /** the file it leads to, absolute */
  readonly target: string;
  /** absent: as the others */
  readonly kind?: "hard" | "symbolic";
}

/** Names under which files lie in a directory of links, which is read in byte order of its names: numbers come before paths in another order. */
export function namesInOrder(paths: readonly string[]): string[] {
  const isInOrder = paths.every((path, index) => index === 0 || Buffer.compare(Buffer.from(paths[index - 1]!), Buffer.from(path)) < 0);
  return isInOrder ? [...paths] : paths.map((path, index) => `${String(index).padStart(6, "0")}/${path}`);
}

/**
 * Makes `directory` hold exactly these links, whole or not at all. A hub's blobs never change and get hard links, which
 * outlive a cleaned cache; a user's own files get symbolic ones, and so does another disk.
 */
export async function linkDirectory(directory: string, links: readonly Link[], kind: "hard" | "symbolic"): Promise<void> {
  if (await isDone(directory, links)) return;
  const temporary = `${directory}.tmp`;
  await rm(temporary, { recursive: true, force: true });
  for (const { path, target, kind: own = kind } of links) {
    const at = join(temporary, path);
    await mkdir(dirname(at), { recursive: true });
    if (own === "hard" && (await tryHardLink(target, at))) continue;
    await symlink(target, at);
  }
  await rm(directory, { recursive: true, force: true });
  await rename(temporary, directory);
}

async function tryHardLink(target: string, at: string): Promise<boolean> {
  try {
    await link(target, at);
    return true;
  } catch (error) {
    if (["EXDEV", "EPERM", "EMLINK", "ENOTSUP"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}

async function isDone(directory: string, links: readonly Link[]): Promise<boolean> {
  try {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    if (entries.filter((entry) => !entry.isDirectory()).length !== links.length) return false;
    for (const { path, target } of links) {
      const [have, want] = [await stat(join(directory, path)), await stat(target)];
      if (have.ino !== want.ino || have.dev !== want.dev) return false;
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}
