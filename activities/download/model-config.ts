import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../../core/errors.js";
import { parseGptjConfig, type GptjConfig } from "../../core/model/gptj/config.js";
import type { Remote, RemoteFile } from "../../infra/sources/remote.js";
import type { SourcePlan } from "./source-plan.js";

/** The model's config.json, wherever it lies: small enough to be had before anything else; `fetched`: bytes that came over the wire for it. */
export async function modelConfig(
  source: SourcePlan,
  signal: AbortSignal,
): Promise<{ readonly config: GptjConfig; readonly fetched: number }> {
  if (source.kind === "file") throw new Error("a model's source is a directory or a repository");
  if (source.kind === "remote") {
    const { text, fetched } = await fetchText(source.remote, source.files, "config.json", signal);
    return { config: parse(text, `config.json of ${source.remote.title}`), fetched };
  }
  const path = join(source.kind === "kept" ? fileURLToPath(source.artifact.uri) : source.directory, "config.json");
  return { config: parse(await readFile(path, "utf8"), path), fetched: 0 };
}

function parse(text: string, where: string): GptjConfig {
  try {
    return parseGptjConfig(JSON.parse(text), where);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError("a model's config.json is not JSON", { file: where }, { cause: error });
  }
}

/** Text of one of a remote place's files, and the bytes that came over the wire for it. */
export async function fetchText(
  remote: Remote,
  files: readonly RemoteFile[],
  path: string,
  signal: AbortSignal,
): Promise<{ readonly text: string; readonly fetched: number }> {
  const wanted = files.filter((file) => file.path === path);
  await remote.checkSpace(await remote.missing(wanted));
  const [cached] = await remote.fetch(wanted, { signal, onBytes: () => undefined, onNote: () => undefined });
  return { text: await readFile(cached!.blob, "utf8"), fetched: cached!.fetched };
}
