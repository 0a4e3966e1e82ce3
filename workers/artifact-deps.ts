import { hubTargetId } from "../core/config/hub-target.js";
import type { RunConfig } from "../core/config/schema.js";
import { UserError } from "../core/errors.js";
import type { Environment } from "./environment.js";
import { EXPORT_LIMITS } from "../core/model/export.js";
import { openInference } from "../engines/onnx/inference/open-inference.js";
import type { Watch } from "../infra/http/retries.js";
import { checkHub } from "../infra/hub/check-hub.js";
import { hubRepository } from "../infra/hub/hub-repository.js";
import type { HubAccess } from "../infra/sources/hub/access.js";
import { hubFiles } from "../infra/sources/hub/hub-files.js";
import { accessOf } from "../infra/sources/hub/hub.js";
import { openSigner } from "../infra/signing/keys.js";
import { checkTarget } from "../infra/store/check.js";
import { openStore } from "../infra/store/open-store.js";
import { ALL_ABILITIES } from "../infra/store/s3-requests.js";
import { fetchPublished, findPublished } from "../infra/sources/published.js";
import { s3SettingsOf, type S3Settings } from "../infra/store/s3-store.js";
import type { TargetCheck } from "../infra/store/store.js";
import { openTokens } from "../infra/dataset/tokens.js";
import type { EvaluateDependencies } from "../activities/evaluate/deps.js";
import type { PublishDependencies } from "../activities/publish/deps.js";
import { placesOf } from "./download-deps.js";

/** Evaluation's dependencies on this machine. */
export function evaluateDeps(environment: Environment): EvaluateDependencies {
  const live = {
    defaultTarget: () => defaultTarget(environment),
    find: (uri: string, signal: AbortSignal) =>
      findPublished(uri, { ...s3SettingsOf(environment.variables), hub: environment.hub }, signal),
    fetch: fetchPublished,
  };
  return { openTokens, openInference, places: placesOf(environment), live };
}

/** Where a run is published that names no target. Throws UserError where S3 is not ours and no bucket of it is named. */
export function defaultTarget({ s3, bucket, variables }: Environment): string {
  if (s3 === "external" && !variables["ROSLIN_BUCKET"])
    throw new UserError("no place to publish to is named: set publish.target, or ROSLIN_BUCKET to a bucket of yours");
  return `s3://${bucket}/models`;
}

/** Whether a run may publish to a target, as `checkTarget` of the stores and `checkHub` say it. */
export async function checkAnyTarget(
  settings: S3Settings,
  hub: HubAccess,
  uri: string,
  wanted: RunConfig["publish"],
  watch: Watch,
): Promise<TargetCheck> {
  if (!uri.startsWith("hf://")) return checkTarget(uri, settings, wanted, watch.signal);
  const note = await checkHub(accessOf(hub), uri, wanted, watch);
  return { abilities: ALL_ABILITIES, ...(note === undefined ? {} : { note }) };
}

/** Publishing's dependencies, with the S3 of these settings, the hub of this place, the variables that may hold a key, and the target of a run that names none. */
export function publishDeps(
  settings: S3Settings,
  { hub, variables }: { readonly hub: HubAccess; readonly variables: Environment["variables"] },
  target: () => string,
): PublishDependencies {
  return {
    defaultTarget: target,
    openStore: (uri, options, signal, abilities = ALL_ABILITIES) => openStore(uri, { ...settings, abilities }, options, signal),
    openHub: (uri, signal, onNote) => hubRepository(accessOf(hub), hubTargetId(uri)!, { signal, onNote }),
    openPublished: (uri, options, signal) =>
      uri.startsWith("hf://") ? hubFiles(accessOf(hub), uri, signal) : openStore(uri, settings, options, signal),
    checkTarget: (uri, wanted, signal) => checkAnyTarget(settings, hub, uri, wanted, { signal }),
    openSigner: (sign) => openSigner(sign, variables),
    exportLimits: EXPORT_LIMITS,
  };
}
