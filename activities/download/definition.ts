import type { RunConfig } from "../../core/config/schema.js";
import { chosenSource, parseSource } from "../../core/config/source-ref.js";
import type { StageResult } from "../../core/stages/results.js";
import { sha256 } from "../../infra/disk/files.js";
import type { StageDefinition } from "../common/definition.js";
import { Stage } from "../common/stage.js";

/** What a download depends on: the names of its sources, and what is chosen of the dataset. */
export const downloadDefinition: StageDefinition<"download"> = {
  name: "download",
  version: 2,
  inputs: [],
  settings: ({ model, dataset }) => ({ model: sourceIdentity(model.source), dataset: sourceIdentity(chosenSource(dataset)) }),
};

/** What the download of a config's sources left below `root` when it finished last; null: it has not finished. */
export function finishedDownload(config: RunConfig, root: string): Promise<StageResult<"download"> | null> {
  return new Stage(downloadDefinition, { config, inputs: [], root }).finished();
}

/** A source as the published chain of digests names it: a local path, which tells of its owner, by its digest. */
export function sourceIdentity(source: string): string {
  return parseSource(source).kind === "file" ? `file:sha256-${sha256(source)}` : source;
}
