import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseSource } from "../../core/config/source-ref.js";
import { selectDataFiles } from "../../core/rows/data-files.js";
import { DATA_FORMATS, formatOf } from "../../core/rows/data-format.js";
import { UnreachableError, UserError } from "../../core/errors.js";
import type { Artifact, StageResult } from "../../core/stages/results.js";
import type { Buckets } from "../../infra/sources/bucket.js";
import type { Hub } from "../../infra/sources/hub/hub.js";
import type { Published } from "../../infra/sources/published.js";
import type { Remote, RemoteFile } from "../../infra/sources/remote.js";
import { fetchText } from "./fetch-text.js";
import { indexAmong, selectIndexed, selectModelFiles } from "./select.js";

/** What a run gets from outside. */
export type SourceName = "model" | "dataset";

/** What has to be done for a source, known before a byte is downloaded but an index of weights. */
export type SourcePlan =
  /** a single file, used where it lies */
  | { readonly kind: "file"; readonly name: SourceName; readonly path: string }
  /** files of a directory, by paths below it; `published`: they are those of a model that Roslin published there */
  | {
      readonly kind: "directory";
      readonly name: SourceName;
      readonly directory: string;
      readonly paths: readonly string[];
      readonly published: Published | null;
    }
  /** `fetched`: bytes over the wire that it took to know this */
  | {
      readonly kind: "remote";
      readonly name: SourceName;
      readonly remote: Remote;
      readonly files: readonly RemoteFile[];
      readonly fetched: number;
    }
  /** the hub or bucket cannot be asked: what was downloaded from it before */
  | { readonly kind: "kept"; readonly name: SourceName; readonly artifact: Artifact };

/** Where sources are looked for. */
export interface Places {
  readonly hub: Hub;
  readonly buckets: Buckets;
  /** infra's `findPublished`, for file: URLs */
  findPublished(uri: string): Promise<Published | null>;
}

/** Plans a local source; throws UserError if it is missing or is not what it should be. Null: the source is not local. */
export async function planLocal(places: Pick<Places, "findPublished">, name: SourceName, source: string): Promise<SourcePlan | null> {
  const ref = parseSource(source);
  if (ref.kind !== "file") return null;
  const path = name === "model" && ref.latest !== null && !(await isDirectory(ref.path)) ? ref.latest : ref.path;
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`the ${name}'s source cannot be read`, { path }, { cause: error });
  });
  if (!info.isDirectory()) {
    if (name === "model") throw new UserError("a model's source must be a directory with config.json, weights and a tokenizer", { path });
    if (formatOf(path) === null)
      throw new UserError("a dataset must be a file of one of these kinds", { file: path, expected: DATA_FORMATS });
    return { kind: "file", name, path };
  }
  if (name === "dataset")
    return { kind: "directory", name, directory: path, paths: selectDataFiles(await filesBelow(path), source), published: null };
  const published = await places.findPublished(pathToFileURL(path).href);
  const directory = published === null ? path : fileURLToPath(published.uri);
  const names = published === null ? await readdir(path) : published.manifest.files.map((file) => file.name);
  const selected = selectModelFiles(names, source);
  const index = indexAmong(selected);
  const paths = index === undefined ? selected : selectIndexed(selected, index, await readFile(join(directory, index), "utf8"), names);
  return { kind: "directory", name, directory, paths, published };
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() === true;
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)).split(sep).join("/"));
}

/** Plans a source on the hub or in a bucket, at the version that its name means now. If it cannot be reached, what a finished download brought from there stands in. */
export async function planRemote(
  places: Pick<Places, "hub" | "buckets">,
  name: SourceName,
  source: string,
  finished: StageResult | null,
  signal: AbortSignal,
  onNote?: (note: string) => void,
): Promise<SourcePlan> {
  const ref = parseSource(source);
  let remote: Remote;
  try {
    remote =
      ref.kind === "hub"
        ? await places.hub.resolve({ kind: name === "model" ? "models" : "datasets", id: ref.id, revision: ref.revision }, signal, onNote)
        : await places.buckets.open(name, source, signal);
  } catch (error) {
    const kept = finished?.outputs.find((output) => output.name === name);
    if (!(error instanceof UnreachableError) || kept?.origin === undefined) throw error;
    return { kind: "kept", name, artifact: kept };
  }
  const paths = remote.files.map((file) => file.path);
  // what a place says of a file may be unusable: for a wanted file that is an error, and it is thrown here
  const filesOf = (wanted: readonly string[]): Promise<readonly RemoteFile[]> => {
    const names = new Set(wanted);
    return remote.stated(
      remote.files.filter(({ path }) => names.has(path)),
      signal,
    );
  };
  const plan = { kind: "remote", name, remote } as const;
  if (name === "dataset")
    return { ...plan, files: await filesOf(isNamed(paths, source) ? paths : selectDataFiles(paths, source)), fetched: 0 };
  const selected = selectModelFiles(paths, source);
  const index = indexAmong(selected);
  if (index === undefined) return { ...plan, files: await filesOf(selected), fetched: 0 };
  const { text, fetched } = await fetchText(remote, await filesOf([index]), index, signal);
  return { ...plan, files: await filesOf(selectIndexed(selected, index, text, paths)), fetched };
}

/** Whether a source names one data file, which is taken whatever its name says of splits. */
function isNamed([path, ...others]: readonly string[], source: string): boolean {
  return path !== undefined && others.length === 0 && formatOf(path) !== null && source.endsWith(`/${path}`);
}

/** Name of a source's directory of links: each version gets its own, because a run may still read an older one. */
export function viewName(plan: SourcePlan): string {
  return plan.kind === "remote" ? `${plan.name}-${plan.remote.version}` : plan.name;
}

/** Whether a name is that of a remote source's directory of links at one version, whole or half made. */
export function isView(name: string): boolean {
  return /^(model|dataset)-[0-9a-f]{12}(\.tmp)?$/.test(name);
}

/** The files that a plan takes of a directory or a remote place. */
export function pathsOf(plan: SourcePlan): readonly string[] {
  if (plan.kind === "directory") return plan.paths;
  return plan.kind === "remote" ? plan.files.map(({ path }) => path) : [];
}

/** A few words for people. */
export function describePlan(plan: SourcePlan): string {
  switch (plan.kind) {
    case "file":
      return basename(plan.path);
    case "directory":
      return plan.directory;
    case "remote":
      return plan.remote.title;
    case "kept":
      return `${plan.artifact.origin?.uri ?? `the ${plan.name}`}, downloaded before: its source cannot be reached`;
  }
}
