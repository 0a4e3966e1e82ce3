import { join } from "node:path";
import type { StageRequest } from "../../../activities/common/stage.js";
import { parseRunConfig } from "../../../core/config/schema.js";
import { createBuckets } from "../../../infra/sources/bucket.js";
import { createHub } from "../../../infra/sources/hub/hub.js";
import { findPublished } from "../../../infra/sources/published.js";
import type { S3Settings } from "../../../infra/store/s3-store.js";
import type { Places } from "../../../activities/download/source-plan.js";

const TIMING = { stallMs: 3000, retryMs: 1 };

/** Sources on the tests' hub. */
export const HUB = { model: { source: "hf://org/m@main" }, dataset: { source: "hf://org/d" } };

/** The stage's real places, against a hub at `url` and S3 with `settings`, with the caches below `work`. */
export function dependenciesFor(url: string, work: string, settings: S3Settings = {}): Places {
  return {
    hub: createHub({ endpoint: url, token: null, cacheDirectory: join(work, "hub"), timing: TIMING }),
    buckets: createBuckets({ settings, cacheDirectory: join(work, "objects"), timing: TIMING }),
    findPublished: (uri) => findPublished(uri, settings),
    downloadedModel: async () => null,
  };
}

export function requestFor(config: unknown, work: string): StageRequest {
  return { config: parseRunConfig(config), inputs: [], root: join(work, "stages") };
}
