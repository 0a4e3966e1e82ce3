import { publish } from "../../../activities/publish/publish.js";
import type { StageRequest } from "../../../activities/common/stage.js";
import type { HubAccess } from "../../../infra/sources/hub/access.js";
import { publishDependencies } from "./run.js";

/** Publishes to a hub in a process of its own, to be killed. */
const { request, access } = JSON.parse(process.argv[2]!) as { request: StageRequest; access: HubAccess };
await publish(publishDependencies({}, undefined, { hub: access }), request, {
  signal: new AbortController().signal,
  progress: () => undefined,
});
