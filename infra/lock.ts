import { link, readFile, rm, writeFile } from "node:fs/promises";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** A lock file names its holder by pid and start time, so that a dead holder, or another process with its pid, is recognized. */

/** Milliseconds between looks at a lock that another holds. */
const POLL_MS = 200;

/** When a process started, in the system's own words without spaces (on Linux clock ticks since boot); null when it is gone. */
export function processStart(pid: number): string | null {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return null;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? null : (fields[19] ?? "?");
  } catch {
    return process.platform === "linux" ? null : startByPs(pid);
  }
}

/** The same on macOS, which has no /proc. */
function startByPs(pid: number): string | null {
  const { stdout } = spawnSync("ps", ["-o", "lstart=", "-p", `${pid}`], { encoding: "utf8" });
  return stdout.trim() === "" ? null : stdout.trim().replaceAll(/\s+/g, "_");
}

/** Takes the lock at `path`, waiting while a living process holds it; resolves to the function that gives it back. */
export async function lock(path: string, signal: AbortSignal, waiting: (holder: string) => void): Promise<() => Promise<void>> {
  const own = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  await writeFile(own, `${process.pid} ${processStart(process.pid)}`);
  try {
    for (;;) {
      signal.throwIfAborted();
      try {
        await link(own, path);
        return () => rm(path, { force: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const holder = await readFile(path, "utf8").catch(() => "");
      const [pid, start] = holder.split(" ");
      if (holder !== "" && processStart(Number(pid)) !== start) {
        await removeDead(path, holder);
        continue;
      }
      waiting(`process ${pid}`);
      await sleep(POLL_MS, undefined, { signal });
    }
  } finally {
    await rm(own, { force: true });
  }
}

/** Removes a dead holder's lock, unless somebody did already and took it. */
async function removeDead(path: string, holder: string): Promise<void> {
  const now = await readFile(path, "utf8").catch(() => "");
  if (now === holder) await rm(path, { force: true });
}
