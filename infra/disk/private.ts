import { randomUUID } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { UserError } from "../../core/errors.js";

/** Files and directories that only their owner may use. They are made so, not changed later: nobody can open them in between. */

const OTHERS = 0o077;
/** Of a directory in which everybody may make files, such as /tmp. */
const STICKY = 0o1000;

/** Makes a directory for its owner alone. One that others may enter is closed to them, and `say` hears it; one of another user's, or one for everybody, stays as it is. */
export function makePrivateDirectory(path: string, say: (line: string) => void): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const { mode, uid } = statSync(path);
  if ((mode & OTHERS) === 0 || (mode & STICKY) !== 0 || uid !== process.getuid!()) return;
  chmodSync(path, mode & 0o700);
  say(`closed ${path} to other users of this machine: it held permissions ${octal(mode)}`);
}

/** Writes a secret whole or not at all; nobody but its owner can read it at any moment. */
export function writePrivate(file: string, text: string): void {
  const temporary = `${file}.${randomUUID()}.tmp`;
  try {
    writeFileSync(temporary, text, { mode: 0o600, flag: "wx" });
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Reads a secret; null: there is none. One that others may read or write is closed to them, and `say` hears it. Throws UserError for a file of another user's. */
export function readPrivate(file: string, say: (line: string) => void): string | null {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  const { mode, uid } = statSync(file);
  const self = process.getuid!();
  if (uid !== self && self !== 0)
    throw new UserError("a file of secrets belongs to another user: remove it, or correct its owner", { file, owner: uid, expected: self });
  if ((mode & OTHERS) !== 0) {
    chmodSync(file, 0o600);
    say(`closed ${file} to other users of this machine: it held permissions ${octal(mode)}; if others may have read it, delete it`);
  }
  return text;
}

/** Calls `make`, which makes files or sockets without waiting; none of them is open to others, whatever mode they ask for. */
export function withPrivateFiles<T>(make: () => T): T {
  const before = process.umask(OTHERS);
  try {
    return make();
  } finally {
    process.umask(before);
  }
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8);
}
