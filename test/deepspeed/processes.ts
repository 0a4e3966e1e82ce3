import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CHECKOUT } from "../../workers/environment.js";

/** The rank's program, and the tests' own in which a step may be deadly. */
const PROGRAMS = [join("engines", "deepspeed", "rank"), join("test", "engines", "deepspeed", "deadly")].map((path) => join(CHECKOUT, path));

/** Pids of this checkout's Python processes that compute for a rank, whether or not their parents live. */
export function rankProcesses(): number[] {
  const table =
    process.platform === "linux" ? fromProc() : execFileSync("ps", ["-A", "-o", "pid=,args="], { encoding: "utf8" }).split("\n");
  return table.filter((line) => PROGRAMS.some((program) => line.trimEnd().endsWith(program))).map((line) => Number.parseInt(line, 10));
}

function fromProc(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")}`];
      } catch {
        return [];
      }
    });
}
