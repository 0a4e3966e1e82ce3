import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chosenSource, parseSource, placeOf, type SourceRef } from "../../core/config/source-ref.js";
import type { RunConfig } from "../../core/config/schema.js";
import { NO_CHOICE, selectOneFile } from "../../core/dataset/select.js";
import { DATA_FORMATS, formatOf } from "../../core/rows/data-format.js";
import { unreadableEnding } from "../../core/rows/unread-files.js";
import { UnreachableError, UserError } from "../../core/errors.js";
import type { Artifact, StageResult } from "../../core/stages/results.js";
import { refuseLfsPointer } from "../../infra/disk/lfs-pointer.js";
import type { Buckets } from "../../infra/sources/bucket.js";
import type { Hub } from "../../infra/sources/hub/hub.js";
import type { Published } from "../../infra/sources/published.js";
import type { Remote, RemoteFile } from "../../infra/sources/remote.js";
import type { DownloadedModel } from "./adapter-base.js";
import { fetchText } from "./fetch-text.js";
import { indexAmong, isGguf, selectIndexed, selectModelFiles, selectNamed } from "./select.js";
import { CARDS, checkSmall, selectDataset } from "./select-dataset.js";

/** What a run gets from outside. */
export type SourceName = "model" | "dataset";

/** Files of a directory, by paths below it; `published`: they are those of a model that Roslin published there. */
interface DirectoryPlan {
  readonly kind: "directory";
  readonly name: SourceName;
  readonly directory: string;
  readonly paths: readonly string[];
  readonly choice: string | null;
  readonly published: Published | null;
}

/** `fetched`: bytes of these files that came over the wire to know this. */
interface RemotePlan {
  readonly kind: "remote";
  readonly name: SourceName;
  readonly remote: Remote;
  readonly files: readonly RemoteFile[];
  readonly choice: string | null;
  readonly fetched: number;
}

/** An adapter's own files. */
export type AdapterPlan = DirectoryPlan | RemotePlan;

/** Of a base: the adapter that lies beside it. */
interface Adapted {
  readonly adapter?: AdapterPlan;
  /** the source under which the base was found; null: it was found by its digest */
  readonly base?: string | null;
  /** that the base had when the adapter was made; null: it is not known, or the source is a commit */
  readonly baseDigest?: string | null;
}

/** What has to be done for a source, known before a byte is downloaded but small files that describe it: an index of weights, a dataset's card. */
export type SourcePlan =
  /** a single file, used where it lies */
  | { readonly kind: "file"; readonly name: SourceName; readonly path: string }
  | (DirectoryPlan & Adapted)
  | (RemotePlan & Adapted)
  /** the hub or bucket cannot be asked: what was downloaded from it before */
  | { readonly kind: "kept"; readonly name: SourceName; readonly artifact: Artifact };

/** A source that is there. */
export interface Got {
  readonly artifact: Artifact;
  /** bytes over the wire */
  readonly fetched: number;
}

/** Where sources are looked for. */
export interface Places {
  readonly hub: Hub;
  readonly buckets: Buckets;
  /** infra's `findPublished`, for file: URLs */
  findPublished(uri: string): Promise<Published | null>;
  /** The model that an earlier download on this machine left, by its digest; null: there is none. */
  downloadedModel(digest: string): Promise<DownloadedModel | null>;
}

/** A source of a config, a dataset's with what is chosen of it. */
export function sourceOf(config: Pick<RunConfig, "model" | "dataset">, name: SourceName): string {
  return name === "model" ? config.model.source : chosenSource(config.dataset);
}

/** Plans a local source; throws UserError if it is missing or is not what it should be. Null: the source is not local. */
export async function planLocal(places: Pick<Places, "findPublished">, name: SourceName, source: string): Promise<SourcePlan | null> {
  const ref = parseSource(source);
  if (ref.kind !== "file") return null;
  const path = name === "model" && ref.latest !== null && !(await isDirectory(ref.path)) ? ref.latest : ref.path;
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`the ${name}'s source cannot be read`, { path }, { cause: error });
  });
  if (name === "model") {
    if (info.isDirectory()) return await planLocalModel(places, path, source);
    if (!isGguf(path))
      throw new UserError("a model's source must be a directory with config.json, weights and a tokenizer, or a GGUF file", { path });
    refuseLfsPointer(path);
    return { kind: "directory", name, directory: dirname(path), paths: [basename(path)], choice: null, published: null };
  }
  if (info.isDirectory()) {
    const { paths, words: choice } = await selectLocal(path, source, ref);
    return { kind: "directory", name, directory: path, paths, choice, published: null };
  }
  if (formatOf(path) === null)
    throw new UserError("a dataset must be a file of one of these kinds", {
      file: path,
      expected: DATA_FORMATS,
      got: unreadableEnding(basename(path)) ?? undefined,
    });
  selectOneFile(path, ref.choice ?? NO_CHOICE, source);
  refuseLfsPointer(path);
  return { kind: "file", name, path };
}

/** The files to train on below a directory, and what was chosen. Throws UserError. */
async function selectLocal(directory: string, source: string, { choice }: SourceRef): Promise<ReturnType<typeof selectOneFile>> {
  const readText = async (file: string): Promise<string> => {
    const path = join(directory, file);
    refuseLfsPointer(path);
    checkSmall(path, (await stat(path)).size);
    return await readFile(path, "utf8");
  };
  const chosen = await selectDataset({ paths: await filesBelow(directory), where: placeOf(source), readText }, choice ?? NO_CHOICE);
  for (const file of chosen.paths) refuseLfsPointer(join(directory, file));
  return chosen;
}

/** The files on this machine that a source means, each looked at as for a run. Throws UserError. */
export async function localFiles(name: SourceName, source: string): Promise<string[]> {
  const plan = await planLocal({ findPublished: () => Promise.resolve(null) }, name, source);
  if (plan?.kind === "directory") return plan.paths.map((path) => join(plan.directory, path));
  return plan?.kind === "file" ? [plan.path] : [];
}

async function planLocalModel(places: Pick<Places, "findPublished">, path: string, source: string): Promise<SourcePlan> {
  const published = await places.findPublished(pathToFileURL(path).href);
  const directory = published === null ? path : fileURLToPath(published.uri);
  const names = published === null ? await readdir(path) : published.manifest.files.map((file) => file.name);
  const selected = selectModelFiles(names, source);
  const index = indexAmong(selected);
  if (index !== undefined) refuseLfsPointer(join(directory, index));
  const paths = index === undefined ? selected : selectIndexed(selected, index, await readFile(join(directory, index), "utf8"), names);
  for (const file of paths) refuseLfsPointer(join(directory, file));
  return { kind: "directory", name: "model", directory, paths, choice: null, published };
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
  try {
    const remote =
      ref.kind === "hub"
        ? await places.hub.resolve({ kind: name === "model" ? "models" : "datasets", id: ref.id, revision: ref.revision }, signal, onNote)
        : await places.buckets.open(name, source, signal);
    const file = ref.kind === "hub" ? ref.file : undefined;
    if (name === "model") return await planModel(remote, source, file, signal);
    if (file !== undefined) throw new UserError("a dataset's source names a GGUF, which holds a model", { source });
    return await planDataset(remote, source, signal);
  } catch (error) {
    const kept = finished?.outputs.find((output) => output.name === name);
    if (!(error instanceof UnreachableError) || kept?.origin === undefined) throw error;
    return { kind: "kept", name, artifact: kept };
  }
}

async function planModel(remote: Remote, source: string, file: string | undefined, signal: AbortSignal): Promise<SourcePlan> {
  const paths = remote.files.map((file) => file.path);
  const plan = { kind: "remote", name: "model", remote, choice: null } as const;
  const selected = file === undefined ? selectModelFiles(paths, source) : selectNamed(paths, file, source);
  const index = indexAmong(selected);
  if (index === undefined) return { ...plan, files: await statedFiles(remote, selected, signal), fetched: 0 };
  const { text, fetched } = await fetchText(remote, await statedFiles(remote, [index], signal), index, signal);
  return { ...plan, files: await statedFiles(remote, selectIndexed(selected, index, text, paths), signal), fetched };
}

async function planDataset(remote: Remote, source: string, signal: AbortSignal): Promise<SourcePlan> {
  const { choice = NO_CHOICE } = parseSource(source);
  const listed = remote.files.map((file) => file.path);
  const plan = { kind: "remote", name: "dataset", remote } as const;
  if (isNamed(listed, placeOf(source))) {
    const { paths, words } = selectOneFile(listed[0]!, choice, source);
    return { ...plan, files: await statedFiles(remote, paths, signal), choice: words, fetched: 0 };
  }
  const unstated = await unstatedCards(remote, listed, signal);
  const readText = async (path: string): Promise<string> => {
    const files = await statedFiles(remote, [path], signal);
    for (const { bytes } of files) checkSmall(path, bytes);
    return (await fetchText(remote, files, path, signal)).text;
  };
  const place = { paths: listed.filter((path) => !unstated.includes(path)), where: placeOf(source), readText };
  const { paths, words } = await selectDataset(place, choice);
  const unread = unstated.map((path) => `${path} was not read, because the hub states no digest of it`);
  const said = [...(words === null ? [] : [words]), ...unread];
  return { ...plan, files: await statedFiles(remote, paths, signal), choice: said.length === 0 ? null : said.join(", "), fetched: 0 };
}

/** What a place says of a file may be unusable: for a wanted file that is an error, and it is thrown here. In the order of the names. */
async function statedFiles(remote: Remote, wanted: readonly string[], signal: AbortSignal): Promise<readonly RemoteFile[]> {
  const byPath = new Map(remote.files.map((file) => [file.path, file]));
  return await remote.stated(
    wanted.flatMap((path) => byPath.get(path) ?? []),
    signal,
  );
}

/** The cards that a mirror lists without saying what their bytes are: a dataset can do without. */
async function unstatedCards(remote: Remote, listed: readonly string[], signal: AbortSignal): Promise<string[]> {
  const unstated: string[] = [];
  for (const path of CARDS.filter((card) => listed.includes(card)))
    await statedFiles(remote, [path], signal).catch((error: unknown) => {
      if (!(error instanceof UserError)) throw error;
      unstated.push(path);
    });
  return unstated;
}

/** Whether a place names one data file, which is taken whatever its name says of splits. */
function isNamed([path, ...others]: readonly string[], place: string): boolean {
  return path !== undefined && others.length === 0 && formatOf(path) !== null && place.endsWith(`/${path}`);
}

/** Name of a source's directory of links: each version gets its own, because a run may still read an older one. */
export function viewName(plan: SourcePlan): string {
  return plan.kind === "remote" ? `${plan.name}-${plan.remote.version}` : plan.name;
}

/** Whether a name is that of a remote source's directory of links at one version, whole or half made. */
export function isView(name: string): boolean {
  return /^(model|dataset|adapted)-[0-9a-f]{12}(\.tmp)?$/.test(name);
}

/** The files that a plan takes of a directory or a remote place. */
export function pathsOf(plan: SourcePlan): readonly string[] {
  if (plan.kind === "directory") return plan.paths;
  return plan.kind === "remote" ? plan.files.map(({ path }) => path) : [];
}

/** A few words for people. */
export function describePlan(plan: SourcePlan): string {
  if ("adapter" in plan && plan.adapter !== undefined) {
    const { adapter, ...base } = plan;
    return `${describePlan(adapter)}, an adapter of ${describePlan(base)}`;
  }
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
