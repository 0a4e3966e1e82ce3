import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** Pids of a process' living children. */
export function childrenOf(pid: number): number[] {
  const table =
    process.platform === "linux" ? fromProc() : execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" }).trim().split("\n");
  return table.map((line) => line.trim().split(/\s+/).map(Number)).flatMap(([child, parent]) => (parent === pid ? [child!] : []));
}

function fromProc(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        return [`${name} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]}`];
      } catch {
        return [];
      }
    });
}
