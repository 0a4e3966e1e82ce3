import { join } from "node:path";
import type { StageRequest } from "../../../activities/common/stage.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { createBuckets } from "../../../infra/sources/bucket.js";
import { artifactOf, directoryDigest, sha256File, writeFileAtomic } from "../../../infra/disk/files.js";
import { createHub } from "../../../infra/sources/hub/hub.js";
import { lock } from "../../../infra/disk/lock.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { findPublished } from "../../../infra/sources/published.js";
import type { S3Settings } from "../../../infra/store/s3-store.js";
import type { DownloadDependencies } from "../../../activities/download/deps.js";

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
