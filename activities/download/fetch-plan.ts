import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { CorruptError, messageOf, UserError } from "../../core/errors.js";
import type { Artifact } from "../../core/stages/results.js";
import { artifactOf, directoryDigest, sha256File } from "../../infra/disk/files.js";
import { LFS_POINTER_BYTES, refuseLfsContent } from "../../infra/disk/lfs-pointer.js";
import type { Remote, RemoteFile } from "../../infra/sources/remote.js";
import { ModelFiles } from "../../infra/weights/model-files.js";
import type { Published } from "../../infra/sources/published.js";
import type { FetchEvents } from "../../infra/transfer/fetch.js";
import { adaptedSource } from "./adapter-source.js";
import { checkAsPublished } from "./as-published.js";
import { convertedModel, ggufOf } from "./gguf.js";
import { linkDirectory, namesInOrder } from "./links.js";
import { modelConfig } from "./model-config.js";
import { viewName, type Got, type SourceName, type SourcePlan } from "./source-plan.js";

/** Carries out a plan: what is missing is fetched, a directory of links is made, models are looked through, everything is digested. */
export async function getSource(directory: string, plan: SourcePlan, events: FetchEvents): Promise<Got> {
  if ("adapter" in plan && plan.adapter !== undefined)
    return await adaptedSource(directory, { ...plan, adapter: plan.adapter }, events, (base) => getSource(directory, base, events));
  const { name } = plan;
  const view = join(directory, viewName(plan));
  switch (plan.kind) {
    case "remote": {
      let first = await fetchSmallest(plan.remote, plan.files, events.signal);
      // a model that cannot be trained is refused before its weights are fetched
      const isNew = name === "model" && (await plan.remote.missing(plan.files)) > 0;
      if (isNew) first += (await modelConfig(plan, events.signal)).fetched;
      const cached = await plan.remote.fetch(plan.files, events);
      if (ggufOf(plan) !== null) {
        const { path: name, blob: path, sha256, fetched } = cached[0]!;
        const artifact = await convertedModel(directory, view, { path, sha256, origin: plan.remote.origin, name }, events);
        checkIfModel("model", view);
        return { artifact, fetched: plan.fetched + first + fetched };
      }
      const names = linkNames(
        name,
        cached.map(({ path }) => path),
      );
      await linkDirectory(
        view,
        cached.map(({ blob }, index) => ({ path: names[index]!, target: blob })),
        "hard",
      );
      checkIfModel(name, view);
      const sha256 = directoryDigest(cached.map((file, index) => ({ name: names[index]!, sha256: file.sha256 })));
      const sum = (field: "bytes" | "fetched"): number => cached.reduce((total, file) => total + file[field], 0);
      const artifact = { name, uri: pathToFileURL(view).href, sha256, bytes: sum("bytes"), origin: plan.remote.origin };
      return { artifact, fetched: plan.fetched + first + sum("fetched") };
    }
    case "kept": {
      const now = await artifactOf(name, fileURLToPath(plan.artifact.uri), events.signal);
      if (now.sha256 === plan.artifact.sha256) return { artifact: plan.artifact, fetched: 0 };
      const detail = `[uri=${now.uri}, expected=${plan.artifact.sha256}, got=${now.sha256}]`;
      throw new Error(`the source cannot be reached, and what was downloaded before has changed ${detail}`);
    }
    case "directory": {
      const gguf = ggufOf(plan);
      if (gguf !== null) {
        await modelConfig(plan, events.signal);
        const original = { path: join(plan.directory, gguf), sha256: null, origin: { uri: gguf }, name: gguf };
        const artifact = await convertedModel(directory, view, original, events);
        checkIfModel("model", view);
        return { artifact, fetched: 0 };
      }
      await linkDirectory(
        view,
        linkNames(name, plan.paths).map((path, index) => ({ path, target: join(plan.directory, plan.paths[index]!) })),
        "symbolic",
      );
      checkIfModel(name, view);
      if (plan.published === null) return { artifact: await artifactOf(name, view, events.signal), fetched: 0 };
      return { artifact: await publishedArtifact(plan.published, view, plan.paths, events.signal), fetched: 0 };
    }
    case "file":
      return { artifact: await artifactOf(name, plan.path, events.signal), fetched: 0 };
  }
}

/** A model's files are found by their names, a dataset's are read in their order. */
function linkNames(name: SourceName, paths: readonly string[]): readonly string[] {
  return name === "model" ? paths : namesInOrder(paths);
}

/** Fetches the files that may be Git LFS pointers before the large ones; returns the bytes over the wire. Throws UserError if one is. */
async function fetchSmallest(remote: Remote, files: readonly RemoteFile[], signal: AbortSignal): Promise<number> {
  const small = files.filter(({ bytes }) => bytes <= LFS_POINTER_BYTES);
  if (small.length === 0) return 0;
  const cached = await remote.fetch(small, { signal, onBytes: () => undefined, onNote: () => undefined });
  for (const { path, blob } of cached) refuseLfsContent(await readFile(blob), `${path} of ${remote.title}`);
  return cached.reduce((sum, { fetched }) => sum + fetched, 0);
}

/** Files of a model that was published on this machine, each checked against its manifest; throws UserError that names a file with another digest. */
async function publishedArtifact(published: Published, view: string, paths: readonly string[], signal: AbortSignal): Promise<Artifact> {
  const { manifest, sha256: manifestDigest } = published;
  const files = [];
  for (const file of manifest.files.filter(({ name }) => paths.includes(name))) {
    checkAsPublished(published, file.name, await sha256File(join(view, file.name), signal));
    files.push(file);
  }
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const origin = { uri: manifest.name, manifest: manifestDigest };
  return { name: "model", uri: pathToFileURL(view).href, sha256: directoryDigest(files), bytes, origin };
}

/** Throws UserError for a broken model: only the user can replace it, wherever it came from. */
function checkIfModel(name: SourceName, directory: string): void {
  if (name !== "model") return;
  try {
    new ModelFiles(directory).close();
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error;
    throw new UserError(`the model cannot be used: ${messageOf(error)}. Get the file again`, {}, { cause: error });
  }
}
