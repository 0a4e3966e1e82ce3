import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** When a process started, in clock ticks since boot; null: it has ended; "?": the system doesn't say. With the pid it names a process for good. */
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
