import { readdir, stat } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../../core/errors.js";
import { parseHubSource } from "../../core/sources.js";
import type { Artifact } from "../../core/stage.js";
import type { Hub } from "../../infra/hub/hub.js";
import type { HubFile, Repository } from "../../infra/hub/repository.js";
import { selectDataFiles, selectModelFiles } from "./select.js";

/** What a run gets from outside. */
export type SourceName = "model" | "dataset";

/** What has to be done for a source, known before a byte is downloaded. */
export type SourcePlan =
  /** a single file, used where it lies */
  | { readonly kind: "file"; readonly name: SourceName; readonly path: string }
  /** files of a directory, by paths below it */
  | { readonly kind: "directory"; readonly name: SourceName; readonly directory: string; readonly paths: readonly string[] }
  | {
      readonly kind: "hub";
      readonly name: SourceName;
      readonly commit: string;
      readonly repository: Repository;
      readonly files: readonly HubFile[];
    }
  /** the hub cannot be asked: what was downloaded from it before */
  | { readonly kind: "kept"; readonly name: SourceName; readonly artifact: Artifact; readonly commit: string };

/** Plans a local source; throws UserError when it isn't there or isn't what it should be. Null: the source is no local one. */
export async function planLocal(name: SourceName, source: string): Promise<SourcePlan | null> {
  if (!source.startsWith("file:")) return null;
  const path = localPath(name, source);
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`the ${name}'s source cannot be read`, { path }, { cause: error });
  });
  if (!info.isDirectory()) {
    if (name === "model")
      throw new UserError("a model's source must be a directory with config.json, weights and tokenizer.json", { path });
    return { kind: "file", name, path };
  }
  const paths = name === "model" ? selectModelFiles(await readdir(path), source) : selectDataFiles(await filesBelow(path), source);
  return { kind: "directory", name, directory: path, paths };
}

function localPath(name: SourceName, source: string): string {
  try {
    const url = new URL(source);
    if (url.search !== "" || url.hash !== "") throw new TypeError("? and # in a path are written %3F and %23");
    return fileURLToPath(url);
  } catch (error) {
    throw new UserError(
      `the ${name}'s source is no file URL with an absolute path`,
      { expected: "file:///path", got: source },
      { cause: error },
    );
  }
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)).split(sep).join("/"));
}

/** Plans a hub source at the commit that its revision means now; where the hub can't be reached, an earlier download stands in. */
export async function planHub(
  hub: Hub,
  name: SourceName,
  source: string,
  kept: { readonly artifact: Artifact; readonly commit: string } | null,
  signal: AbortSignal,
  onNote?: (note: string) => void,
): Promise<SourcePlan> {
  const reference = parseHubSource(name === "model" ? "models" : "datasets", source);
  let repository: Repository;
  try {
    repository = await hub.resolve(reference, signal, onNote);
  } catch (error) {
    if ((error as Error).name !== "HubUnreachableError" || kept === null) throw error;
    return { kind: "kept", name, ...kept };
  }
  const paths = repository.files.map((file) => file.path);
  const wanted = new Set(name === "model" ? selectModelFiles(paths, source) : selectDataFiles(paths, source));
  return { kind: "hub", name, commit: repository.commit, repository, files: repository.files.filter((file) => wanted.has(file.path)) };
}

/** Name of a source's directory of links: another commit gets another one, for a run may still read the old. */
export function viewName(plan: SourcePlan): string {
  return plan.kind === "hub" ? `${plan.name}-${plan.commit.slice(0, 12)}` : plan.name;
}

/** A few words for people. */
export function describePlan(plan: SourcePlan): string {
  switch (plan.kind) {
    case "file":
      return basename(plan.path);
    case "directory":
      return plan.directory;
    case "hub":
      return `${plan.repository.id} at ${plan.commit.slice(0, 12)}`;
    case "kept":
      return `the ${plan.name} at ${plan.commit.slice(0, 12)}, downloaded before: the hub cannot be reached`;
  }
}
