import { join } from "node:path";
import { downloadedModel } from "../activities/download/adapter-base.js";
import type { Places } from "../activities/download/source-plan.js";
import { createHub } from "../infra/sources/hub/hub.js";
import { findPublished } from "../infra/sources/published.js";
import type { Environment } from "./environment.js";

/** Where models and datasets come from. S3's SDK is loaded when a source is there: it takes as long as a small download. */
export function placesOf(environment: Environment): Places {
  const s3 = async () => (await import("../infra/store/s3-store.js")).s3SettingsOf(environment.variables);
  return {
    hub: createHub(environment.hub),
    buckets: {
      open: async (name, source, signal) => {
        const { createBuckets } = await import("../infra/sources/bucket.js");
        return createBuckets({ settings: await s3(), cacheDirectory: join(environment.home, "objects") }).open(name, source, signal);
      },
    },
    downloadedModel: (digest) => downloadedModel(join(environment.home, "stages"), digest),
    findPublished: async (uri) => findPublished(uri, uri.startsWith("file:") ? {} : await s3()),
  };
}
