import { publish } from "../../../activities/publish/publish.js";
import type { StageRequest } from "../../../activities/common/stage.js";
import type { S3Settings } from "../../../infra/store/s3-store.js";
import { publishDependencies } from "./run.js";

/** Publishes in a process of its own, to be killed. */
const { request, settings } = JSON.parse(process.argv[2]!) as { request: StageRequest; settings: S3Settings };
await publish(publishDependencies(settings), request, { signal: new AbortController().signal, progress: () => undefined });
