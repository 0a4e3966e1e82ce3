import { fileURLToPath } from "node:url";
import { modelOf, parseModelConfig } from "../../core/model/families.js";
import type { Model } from "../../core/model/family.js";
import { weightBytes } from "../../infra/weights/convert-gguf.js";
import { readModelConfig } from "../../infra/weights/read-model-config.js";
import { fetchText } from "./fetch-text.js";
import { ggufOf, lookAtGguf } from "./gguf.js";
import { pathsOf, type SourcePlan } from "./source-plan.js";

/** A model, known before its weights are here. */
export interface PlannedModel {
  readonly model: Model;
  /** bytes that came over the wire to know it */
  readonly fetched: number;
  /** names of its files; null: they are not known, because the source cannot be reached */
  readonly names: readonly string[] | null;
  /** bytes of disk beside what is downloaded: those of a GGUF's converted weights */
  readonly bytes: number;
}

/** The model that a source's config.json or GGUF header describes: small enough to be read before anything else. Throws UserError. */
export async function modelConfig(source: SourcePlan, signal: AbortSignal): Promise<PlannedModel> {
  if (source.kind === "file") throw new Error("a model's source is a directory or a repository");
  const gguf = ggufOf(source);
  if (gguf !== null) {
    const { directory, fetched } = await lookAtGguf(source, signal);
    return { model: modelOf(directory.configJson, gguf), fetched, names: [...directory.texts.keys()], bytes: weightBytes(directory) };
  }
  if (source.kind === "remote") {
    const { text, fetched } = await fetchText(source.remote, source.files, "config.json", signal);
    return { model: parseModelConfig(text, `config.json of ${source.remote.title}`), fetched, names: pathsOf(source), bytes: 0 };
  }
  const directory = source.kind === "kept" ? fileURLToPath(source.artifact.uri) : source.directory;
  return { model: readModelConfig(directory), fetched: 0, names: source.kind === "kept" ? null : pathsOf(source), bytes: 0 };
}
