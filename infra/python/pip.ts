import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** Python and its package installer as child processes. */

/** How a Python process failed, with all that it wrote. */
export interface PythonError extends Error {
  /** Node's code when it did not start, such as ENOENT */
  readonly code?: string;
  readonly stderr?: string;
}

/** How a Python process runs. */
export interface PythonRun {
  /** the whole environment: pip's own settings, proxies and PATH among the rest */
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** called with each line of its standard output */
  hear?(line: string): void;
}

/** Ends the process when its parent has ended, however that ended, so that it does not write beside the next set-up; then runs pip. */
const PIP = `
import os, runpy, sys, threading
def watch():
    # unbuffered: the interpreter cannot end while a thread holds a buffer's lock
    while os.read(0, 4096): pass
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
`;

/** Options of every call: the answer never depends on a terminal. */
const QUIET = ["--disable-pip-version-check", "--no-input"];

/** Runs `pip COMMAND …` with a Python. Throws PythonError. */
export async function runPip(python: string, [command, ...args]: readonly [string, ...string[]], run: PythonRun): Promise<void> {
  await runPython(python, ["-c", PIP, command, ...QUIET, ...args], run);
}

/** Runs Python to its end and resolves to its standard output; an abort ends it and throws the signal's reason. Throws PythonError. */
export async function runPython(python: string, args: readonly string[], { variables, signal, hear }: PythonRun): Promise<string> {
  signal.throwIfAborted();
  const child = spawn(python, [...args], { env: { ...variables, PYTHONUNBUFFERED: "1" }, stdio: ["pipe", "pipe", "pipe"] });
  let out = "";
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-100_000)));
  createInterface({ input: child.stdout }).on("line", (line) => {
    out = `${out}${line}\n`.slice(-1_000_000);
    hear?.(line);
  });
  const stop = (): void => void child.kill();
  signal.addEventListener("abort", stop);
  let failure: NodeJS.ErrnoException | null = null;
  // its end is waited for in any case: what it writes must not change after this has returned
  const code = await new Promise<number | null>((resolve) => {
    child.on("error", (error) => (failure = error)).on("close", resolve);
  });
  signal.removeEventListener("abort", stop);
  signal.throwIfAborted();
  if (failure !== null) throw Object.assign(failure, { stderr });
  if (code !== 0) throw Object.assign(new Error(`Python ended with exit code ${code}`), { stderr: stderr === "" ? out : stderr });
  return out;
}

/** One line that says why pip failed, and what to do; `room`: what the whole takes on a disk, such as "600 MB". */
export function whyFetchFailed(error: PythonError, room: string): string {
  const said = error.stderr ?? "";
  if (error.code === "ENOENT") return "python3 is not on PATH: install Python 3 with pip";
  if (/No module named '?pip/.test(said)) return "Python has no pip: install it (Debian and Ubuntu: apt install python3-pip)";
  if (/No space left|Errno 28|Disk quota exceeded/.test(said)) return `the disk is full: free ${room}`;
  if (said.includes("DO NOT MATCH THE HASHES"))
    return "what the package index sent has another digest than expected: it was thrown away; try again or use another index";
  if (/Connection|timed out|Temporary failure|Name or service not known|Max retries|ProxyError|SSLError/.test(said))
    return "pip cannot reach its package index: check the network and pip's proxy and index settings, then call again";
  if (/No matching distribution|Could not find a version/.test(said))
    return "pip finds it in no package index that it can reach; check the network and pip's index settings";
  return `pip failed: ${(said.trim() === "" ? error.message : said).trim().split("\n").at(-1)}`;
}
