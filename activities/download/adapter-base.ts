import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { besidePublished, parseSource, readSource } from "../../core/config/source-ref.js";
import { UserError } from "../../core/errors.js";
import type { Manifest } from "../../core/format/manifest.js";
import type { NamedBase } from "../../core/model/lora/adapter-config.js";
import { directoryDigest } from "../../infra/disk/files.js";
import { finishedStage, recordedParts } from "../common/stage.js";

/** Where the base of an adapter is looked for. */

/** A base, of which one or both are known. */
export interface BaseSource {
  /** null: it lay on a machine, and its path is nobody's business */
  readonly source: string | null;
  /** of its directory: what lies at the source may be another base by now; null: it is not known, or the source is a commit */
  readonly digest: string | null;
}

/** The base that the manifest of an adapter names, which Roslin published at `uri`. */
export function baseInManifest({ chain }: Pick<Manifest, "chain">, uri: string): BaseSource {
  const downloaded = chain.find(({ stage }) => stage === "download");
  const model = downloaded?.outputs.find(({ name }) => name === "model");
  if (model === undefined) throw new UserError("the manifest of the adapter does not name its base", { uri });
  const { origin } = model;
  // an adapter that was trained on another one has the base of that
  if (origin?.base !== undefined) return sourceOrDigest(origin.base, directoryDigest(origin.base.files), uri);
  const named = String((downloaded!.settings as { readonly model?: unknown }).model);
  const pinned =
    origin === undefined ? null : { uri: pinnedSource(named, origin.uri), ...(origin.manifest !== undefined && { manifest: "" }) };
  return sourceOrDigest(pinned, model.sha256, uri);
}

function sourceOrDigest(
  origin: { readonly uri: string; readonly manifest?: string | undefined } | null,
  digest: string,
  uri: string,
): BaseSource {
  // of a commit no digest is needed, and another version may read other files of it
  if (origin?.uri.includes("://") === true) return { source: origin.uri, digest: origin.uri.startsWith("hf:") ? null : digest };
  // a model that was published on a machine is looked for beside its descendant
  return { source: origin?.manifest === undefined ? null : besidePublished(uri, origin.uri), digest };
}

/** A source at the version that it meant: `uri` is that of what was downloaded. */
export function pinnedSource(source: string, uri: string): string {
  const [named, got] = [readSource(source), readSource(uri)];
  if (!("id" in named) || !("id" in got)) return uri;
  return `hf://${named.id}@${got.revision}${named.file === undefined ? "" : `/${named.file}`}`;
}

/** The base that an adapter's config names; null: it names none. `isHere`: the adapter lies on this machine. Throws UserError. */
export function namedBase({ name, revision }: NamedBase, adapter: string, isHere: boolean): BaseSource | null {
  if (name === null) return null;
  const isPath = isAbsolute(name) || name.startsWith("file:");
  if (isPath && !isHere)
    throw new UserError(
      "the adapter names as its base a directory of the machine where it was made: copy the adapter here, and set base_model_name_or_path in its adapter_config.json to its base",
      { adapter, got: name },
    );
  const source = name.includes("://") ? name : isPath ? pathToFileURL(name).href : `hf://${name}${revision === null ? "" : `@${revision}`}`;
  try {
    parseSource(source);
  } catch (error) {
    throw new UserError(
      "the adapter's config names no base that Roslin finds: set base_model_name_or_path in its adapter_config.json",
      { adapter, expected: "owner/name of the hub, an absolute path, file:// or s3://", got: name },
      { cause: error },
    );
  }
  return { source, digest: null };
}

/** The base of an adapter that training left in its stage's directory; null: it is not such a directory. */
export async function baseBeside(directory: string): Promise<BaseSource | null> {
  const parts = await recordedParts(dirname(directory));
  const model = parts?.stage === "train" ? parts.inputs.find(({ name }) => name === "model") : undefined;
  return model === undefined ? null : { source: null, digest: model.sha256 };
}

/** A model that a download left. */
export interface DownloadedModel {
  readonly directory: string;
  /** that its files had, without those of an adapter beside them */
  readonly digest: string;
}

/** The model that a download below `root` left, by its digest or by that of the base within it; null: there is none. */
export async function downloadedModel(root: string, digest: string): Promise<DownloadedModel | null> {
  for (const key of await readdir(join(root, "download")).catch(() => [])) {
    const finished = await finishedStage(join(root, "download", key));
    const model = finished?.outputs.find(({ name }) => name === "model");
    if (model === undefined || !existsSync(fileURLToPath(model.uri))) continue;
    const base = model.origin?.base;
    const alone = base === undefined ? model.sha256 : directoryDigest(base.files);
    if ([model.sha256, alone].includes(digest)) return { directory: fileURLToPath(model.uri), digest: alone };
  }
  return null;
}

/** Words for a base, for people. */
export function baseWords(base: BaseSource): string {
  return base.source ?? `a model with the digest ${base.digest}`;
}
