import { join } from "node:path";
import type { DownloadDependencies } from "../../../activities/download/index.js";
import type { StageRequest } from "../../../activities/stage.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { createBuckets } from "../../../infra/bucket/bucket.js";
import { artifactOf, directoryDigest, sha256File, writeFileAtomic } from "../../../infra/files.js";
import { createHub } from "../../../infra/hub/hub.js";
import { lock } from "../../../infra/lock.js";
import { ModelFiles } from "../../../infra/model-files.js";
import { findPublished } from "../../../infra/published.js";
import type { S3Settings } from "../../../infra/store/s3.js";

const TIMING = { stallMs: 3000, retryMs: 1 };

/** Sources on the tests' hub. */
export const HUB = { model: { source: "hf://org/m@main" }, dataset: { source: "hf://org/d" } };

/** The stage's real dependencies, against a hub at `url` and S3 with `settings`, with the caches below `work`. */
export function dependenciesFor(url: string, work: string, settings: S3Settings = {}): DownloadDependencies {
  return {
    files: { writeFileAtomic, lock, artifactOf },
    hub: createHub({ endpoint: url, token: null, cacheDirectory: join(work, "hub"), timing: TIMING }),
    buckets: createBuckets({ settings, cacheDirectory: join(work, "objects"), timing: TIMING }),
    findPublished: (uri) => findPublished(uri, settings),
    sha256File,
    directoryDigest,
    checkModel: (directory) => new ModelFiles(directory).close(),
  };
}

export function requestFor(config: unknown, work: string): StageRequest {
  return { config: parseRunConfig(config), inputs: [], root: join(work, "stages") };
}
