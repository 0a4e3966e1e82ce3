import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/**
 * Removes what attempts of a run before generation `before` left in a directory, as `<prefix>g<generation>.…`: a newer one's
 * is not for a late caller to touch. A process that still has one open keeps its own.
 */
export function clearAttemptFiles(directory: string, prefix: string, before: number): void {
  for (const name of readdirSync(directory)) {
    if (!name.startsWith(prefix)) continue;
    const generation = Number(/^g(\d+)\./.exec(name.slice(prefix.length))?.[1]);
    if (generation < before) rmSync(join(directory, name), { force: true });
  }
}
