import { existsSync } from "node:fs";
import { appendFile, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../core/errors.js";
import { bytes } from "../../core/units.js";
import { syncDirectory, writeFileAtomic } from "../disk/files.js";
import { lock } from "../disk/lock.js";
import { freeDisk } from "../process/machine.js";
import { findPython, type Python, type PythonRange } from "./find-python.js";
import { runPip, runPython, whyFetchFailed, type PythonError, type PythonRun } from "./pip.js";
import type { Requirement } from "./requirements.js";

/**
 * A Python environment of locked packages. It is made beside its place, package by package, and renamed when it has passed
 * its check: an interrupted set-up goes on after the last whole package, and a directory with the final name is whole.
 */

/** What an environment holds, and how it is made. */
export interface EnvironmentPlan {
  /** what it is for, as in "cannot set up <title>" */
  readonly title: string;
  readonly python: PythonRange;
  /** each environment is a directory here */
  readonly directory: string;
  /** the name of this one: another name for other contents */
  readonly name: string;
  readonly packages: readonly Requirement[];
  /** names of packages that come as source and are built here, without a compiler, after all the others */
  readonly built: readonly string[];
  /** names of packages that are fetched alone, because each takes long */
  readonly large: (name: string) => boolean;
  /** variables of the builds */
  readonly buildVariables: Readonly<Record<string, string>>;
  /** bytes that the whole takes while it is made */
  readonly bytes: number;
  /** a Python program that imports what was installed and prints its versions as one line of JSON */
  readonly check: string;
}

/** pip as it installs into the environments: the user's own only fetches this wheel, so its age and its distribution's rules do not matter. */
const PIP = { version: "26.3", wheel: "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13" };

/** Variables that are meant for other environments: some images set PIP_CONSTRAINT to the versions that they were made with. */
const FOR_OTHERS = ["PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_CONSTRAINT", "PIP_USER", "PIP_REQUIRE_VIRTUALENV"];

/** Lists what is installed whole in an unfinished environment, one package a line. */
const JOURNAL = "installed.txt";
/** What a finished environment holds. */
const VERSIONS = "versions.json";
/** Milliseconds between words about a download that goes on. */
const TELL_MS = 10_000;
/** Bytes of a download from which on words are said about it. */
const TOLD_BYTES = 50e6;

/** The interpreter of a finished environment. */
export function interpreter(directory: string, name: string): string {
  return join(directory, name, "bin", "python");
}

/** The versions of a finished environment, as its check printed them; null: there is none, or the Python that it was made with is gone. */
export async function installedVersions(directory: string, name: string): Promise<unknown> {
  const file = join(directory, name, VERSIONS);
  // a dangling link to a removed Python does not exist
  if (![interpreter(directory, name), file].every((path) => existsSync(path))) return null;
  return JSON.parse(await readFile(file, "utf8")) as unknown;
}

/** Makes an environment unless it is there; `say` hears what takes a while. Resolves to its versions. Throws UserError with what to do. */
export async function makeEnvironment(plan: EnvironmentPlan, say: (line: string) => void, run: PythonRun): Promise<unknown> {
  const there = await installedVersions(plan.directory, plan.name);
  if (there !== null) return there;
  const python = await findPython(plan.title, plan.python, run);
  await mkdir(plan.directory, { recursive: true });
  const unlock = await lock(join(plan.directory, "lock"), run.signal, (holder) =>
    say(`waiting for ${holder}, which sets up ${plan.title}`),
  );
  try {
    return (await installedVersions(plan.directory, plan.name)) ?? (await build(plan, python, say, run));
  } finally {
    await unlock();
  }
}

async function build(plan: EnvironmentPlan, python: Python, say: (line: string) => void, run: PythonRun): Promise<unknown> {
  const { directory, name } = plan;
  const finished = join(directory, name);
  // the Python that it was made with is gone
  await rm(finished, { recursive: true, force: true });
  const work = join(directory, `.${name}-${python.version}`);
  for (const other of await readdir(directory))
    if (other.startsWith(".") && join(directory, other) !== work) await rm(join(directory, other), { recursive: true });
  const inside: PythonRun = { ...run, variables: variablesInside(work, run.variables) };
  const steps = groups(plan);
  const done = new Set((await readFile(join(work, JOURNAL), "utf8").catch(() => "")).split("\n"));
  if (done.size > 1) say(`going on after ${done.size - 1} of ${steps.length + 1} steps that an earlier set-up has done`);
  else checkRoom(plan);
  const step = async (title: string, action: () => Promise<void>): Promise<void> => {
    if (done.has(title)) return;
    try {
      await action();
    } catch (error) {
      run.signal.throwIfAborted();
      throw new UserError(`cannot set up ${plan.title}: ${whyFetchFailed(error as PythonError, bytes(plan.bytes))}`, { at: title });
    }
    await appendFile(join(work, JOURNAL), `${title}\n`);
  };
  const own = join(work, "bin", "python");
  await step("pip", async () => {
    say(`making an environment with Python ${python.version} in ${finished}`);
    await runPython(python.program, ["-m", "venv", "--clear", "--without-pip", work], run);
    await mkdir(join(work, "tmp"), { recursive: true });
    await fetchPip(python, own, join(work, "tmp"), inside);
  });
  for (const [index, group] of steps.entries()) {
    const title = `${group.title} (${index + 1} of ${steps.length})`;
    await step(title, async () => {
      say(`installing ${title}`);
      const list = join(work, "tmp", "requirements.txt");
      await writeFile(list, group.packages.map(({ text }) => text).join(""));
      // what a killed call left half must not count as installed
      const options = ["--ignore-installed", "--no-deps", "--require-hashes", "--no-build-isolation", "--progress-bar=raw"];
      const source = group.built ? [] : ["--only-binary=:all:"];
      const variables = { ...inside.variables, ...(group.built ? plan.buildVariables : {}) };
      await runPip(own, ["install", ...options, ...source, "--requirement", list], { ...inside, variables, hear: progress(say) });
    });
  }
  say(`checking ${plan.title}`);
  const versions = await checked(plan, own, inside);
  for (const file of ["tmp", JOURNAL]) await rm(join(work, file), { recursive: true });
  await writeFileAtomic(join(work, VERSIONS), `${JSON.stringify(versions, null, 1)}\n`);
  await rename(work, finished);
  await syncDirectory(directory);
  return versions;
}

/** pip unpacks on the disk that was found large enough, and what decides where the user's own packages go, or which, is not seen. */
function variablesInside(work: string, variables: PythonRun["variables"]): PythonRun["variables"] {
  const kept = Object.entries(variables).filter(([name]) => !FOR_OTHERS.includes(name));
  return { ...Object.fromEntries(kept), PYTHONNOUSERSITE: "1", TMPDIR: join(work, "tmp") };
}

function checkRoom({ title, directory, bytes: need }: EnvironmentPlan): void {
  const have = freeDisk(directory);
  if (have < need)
    throw new UserError(`the disk has too little room to set up ${title}: make room, or set ROSLIN_HOME to a larger disk`, {
      directory,
      need: bytes(need),
      have: bytes(have),
    });
}

async function fetchPip(python: Python, own: string, directory: string, run: PythonRun): Promise<void> {
  const list = join(directory, "pip.txt");
  await writeFile(list, `pip==${PIP.version} --hash=sha256:${PIP.wheel}\n`);
  const options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--quiet"];
  await runPip(python.program, ["download", ...options, "--dest", directory, "--requirement", list], run);
  const wheel = join(directory, `pip-${PIP.version}-py3-none-any.whl`);
  // a wheel is a zip file from which Python can run
  const install = ["install", "--no-index", "--no-deps", "--quiet", "--disable-pip-version-check", wheel];
  await runPython(own, [join(wheel, "pip"), ...install], run);
}

interface Group {
  readonly title: string;
  readonly packages: readonly Requirement[];
  readonly built: boolean;
}

/** The packages in the order in which they are installed: the small ones together, each large one, what is built here. */
function groups({ packages, large, built }: EnvironmentPlan): Group[] {
  const alone = (each: Requirement): Group => ({
    title: `${each.name} ${each.version}`,
    packages: [each],
    built: built.includes(each.name),
  });
  const small = packages.filter(({ name }) => !large(name) && !built.includes(name));
  return [
    { title: `${small.length} small packages`, packages: small, built: false },
    ...packages.filter(({ name }) => large(name) && !built.includes(name)).map(alone),
    ...packages.filter(({ name }) => built.includes(name)).map(alone),
  ];
}

/** Says in pip's own words how far a long download has come. */
function progress(say: (line: string) => void): (line: string) => void {
  let told = Date.now();
  return (line) => {
    const [, done, total] = /^Progress (\d+) of (\d+)$/.exec(line) ?? [];
    if (done === undefined || Number(total) < TOLD_BYTES || Date.now() - told < TELL_MS) return;
    told = Date.now();
    say(`  fetched ${bytes(Number(done))} of ${bytes(Number(total))}`);
  };
}

async function checked({ title, check }: EnvironmentPlan, python: string, run: PythonRun): Promise<unknown> {
  try {
    const said = await runPython(python, ["-c", check], run);
    return JSON.parse(said.trim().split("\n").at(-1)!) as unknown;
  } catch (error) {
    run.signal.throwIfAborted();
    const last = ((error as PythonError).stderr ?? String(error)).trim().split("\n").at(-1);
    throw new UserError(`${title} was installed but does not work on this machine; call the set-up again after correcting it`, {
      got: last,
    });
  }
}
