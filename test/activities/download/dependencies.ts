import { join } from "node:path";
import type { DownloadDependencies } from "../../../activities/download/index.js";
import type { StageRequest } from "../../../activities/stage.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { artifactOf, directoryDigest, writeFileAtomic } from "../../../infra/files.js";
import { createHub } from "../../../infra/hub/hub.js";
import { lock } from "../../../infra/lock.js";
import { ModelFiles } from "../../../infra/model-files.js";

/** Sources on the tests' hub. */
export const HUB = { model: { source: "hf://org/m@main" }, dataset: { source: "hf://org/d" } };

/** The stage's real dependencies, against a hub at `url`, with the cache below `work`. */
export function dependenciesFor(url: string, work: string): DownloadDependencies {
  return {
    files: { writeFileAtomic, lock, artifactOf },
    hub: createHub({ endpoint: url, token: null, cacheDirectory: join(work, "hub"), timing: { stallMs: 3000, retryMs: 1 } }),
    directoryDigest,
    checkModel: (directory) => new ModelFiles(directory).close(),
  };
}

export function requestFor(config: unknown, work: string): StageRequest {
  return { config: parseRunConfig(config), inputs: [], root: join(work, "stages") };
}
