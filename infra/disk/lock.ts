import { closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import koffi from "koffi";
import { UserError } from "../../core/errors.js";

/** Locks that the kernel releases when their holder dies, however it dies. */

/** Milliseconds between looks at a lock that another holds. */
const POLL_MS = 200;
const EXCLUSIVE_NOW = 2 | 4;
/** flock's errors on file systems without locks; any other error means that another process has the lock. */
const LOCKLESS = ["ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"].map((name) => koffi.os.errno[name]);

const flock = koffi.load(process.platform === "darwin" ? "libSystem.dylib" : "libc.so.6").func("int flock(int file, int operation)");

/** Takes the lock at `path`, waiting while another process holds it; resolves to the function that releases it. `waiting` hears the holder's name. */
export async function lock(path: string, signal: AbortSignal, waiting: (holder: string) => void): Promise<() => Promise<void>> {
  mkdirSync(dirname(path), { recursive: true });
  for (;;) {
    signal.throwIfAborted();
    const file = openSync(path, "a+");
    const taken = flock(file, EXCLUSIVE_NOW) === 0;
    const lockless = !taken && LOCKLESS.includes(koffi.errno());
    // the holder before may have removed the file: then other processes don't see this lock
    if (taken && isNamed(file, path)) {
      ftruncateSync(file);
      writeSync(file, String(process.pid));
      return async () => {
        rmSync(path, { force: true });
        closeSync(file);
      };
    }
    closeSync(file);
    if (lockless) throw new UserError("a file cannot be locked on this file system: use a local disk", { file: path });
    const holder = readHolder(path);
    if (holder !== "") waiting(`process ${holder}`);
    await sleep(POLL_MS, undefined, { signal });
  }
}

function isNamed(file: number, path: string): boolean {
  const named = statSync(path, { throwIfNoEntry: false });
  return named !== undefined && named.ino === fstatSync(file).ino;
}

function readHolder(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
