import { fileURLToPath } from "node:url";
import { parseModelConfig } from "../../core/model/families.js";
import type { Model } from "../../core/model/family.js";
import { readModelConfig } from "../../infra/weights/read-model-config.js";
import { fetchText } from "./fetch-text.js";
import type { SourcePlan } from "./source-plan.js";

/** The model that a source's config.json describes: small enough to be read before anything else; `fetched`: bytes that came over the wire for it. */
export async function modelConfig(source: SourcePlan, signal: AbortSignal): Promise<{ readonly model: Model; readonly fetched: number }> {
  if (source.kind === "file") throw new Error("a model's source is a directory or a repository");
  if (source.kind === "remote") {
    const { text, fetched } = await fetchText(source.remote, source.files, "config.json", signal);
    return { model: parseModelConfig(text, `config.json of ${source.remote.title}`), fetched };
  }
  const directory = source.kind === "kept" ? fileURLToPath(source.artifact.uri) : source.directory;
  return { model: readModelConfig(directory), fetched: 0 };
}
