import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CHECKOUT } from "../../workers/environment.js";

/** The rank's program, and the tests' own in which a step may be deadly. */
const PROGRAMS = [join("engines", "deepspeed", "rank"), join("test", "engines", "deepspeed", "deadly")].map((path) => join(CHECKOUT, path));

/** In the environment of all that this file of tests starts: another file may run beside it. */
const MARK = `ROSLIN_TEST_PROCESS=${process.pid}`;
process.env["ROSLIN_TEST_PROCESS"] = `${process.pid}`;

/** Pids of the Python processes that compute for the ranks of this file's tests, whether or not their parents live. */
export function rankProcesses(): number[] {
  const table = process.platform === "linux" ? fromProc() : execFileSync("ps", ["-A", "-E", "-o", "pid=,command="], { encoding: "utf8" });
  return table
    .split("\n")
    .filter((line) => line.includes(MARK) && PROGRAMS.some((program) => line.includes(` ${program} `)))
    .map((line) => Number.parseInt(line, 10));
}

function fromProc(): string {
  const processes = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return processes
    .map((pid) => {
      try {
        const [args, variables] = ["cmdline", "environ"].map((name) => readFileSync(`/proc/${pid}/${name}`, "utf8"));
        return `${pid} ${args}\0${variables}`.replaceAll("\0", " ").replaceAll("\n", " ");
      } catch {
        return "";
      }
    })
    .join("\n");
}
