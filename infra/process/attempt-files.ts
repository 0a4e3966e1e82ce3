import { lstatSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { basename, join } from "node:path";

/**
 * Removes what attempts of a run before generation `before` left in a directory, as `<prefix>g<generation>.…`: a newer one's
 * is not for a late caller to touch. A process that still has one open keeps its own. Where such a name is a link to a
 * directory of the same name on another disk, that goes too.
 */
export function clearAttemptFiles(directory: string, prefix: string, before: number): void {
  for (const name of readdirSync(directory)) {
    if (!name.startsWith(prefix)) continue;
    const generation = Number(/^g(\d+)\./.exec(name.slice(prefix.length))?.[1]);
    if (!(generation < before)) continue;
    const path = join(directory, name);
    if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true) {
      const target = readlinkSync(path);
      if (basename(target) === name) rmSync(target, { recursive: true, force: true });
    }
    rmSync(path, { recursive: true, force: true });
  }
}
