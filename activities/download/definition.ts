import { createHash } from "node:crypto";
import type { RunConfig } from "../../core/config/schema.js";
import { parseSource } from "../../core/config/source-ref.js";
import type { StageResult } from "../../core/stages/stage.js";
import { finishedStage, stageDirectory, type StageDefinition } from "../common/stage.js";

/** What a download depends on: the names of its sources. */
export const downloadDefinition: StageDefinition = {
  name: "download",
  version: 1,
  inputs: [],
  settings: ({ model, dataset }) => ({ model: sourceIdentity(model.source), dataset: sourceIdentity(dataset.source) }),
};

/** What the download of a config's sources left below `root` when it finished last; null: it has not finished. */
export function finishedDownload(config: RunConfig, root: string): Promise<StageResult | null> {
  return finishedStage(stageDirectory(downloadDefinition, { config, inputs: [], root }));
}

/** A source as the published chain of digests names it: a local path, which tells of its owner, by its digest. */
function sourceIdentity(source: string): string {
  return parseSource(source).kind === "file" ? `file:sha256-${createHash("sha256").update(source).digest("hex")}` : source;
}
