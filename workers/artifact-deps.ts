import { UserError } from "../core/errors.js";
import type { Environment } from "./environment.js";
import { EXPORT_LIMITS } from "../core/model/export.js";
import { openInference } from "../engines/onnx/inference/open-inference.js";
import { openSigner } from "../infra/signing/keys.js";
import { checkTarget } from "../infra/store/check.js";
import { openStore } from "../infra/store/open-store.js";
import { ALL_ABILITIES } from "../infra/store/s3-requests.js";
import { fetchPublished, findPublished } from "../infra/sources/published.js";
import { s3SettingsOf, type S3Settings } from "../infra/store/s3-store.js";
import { openTokens } from "../infra/dataset/tokens.js";
import type { EvaluateDependencies } from "../activities/evaluate/deps.js";
import type { PublishDependencies } from "../activities/publish/deps.js";
import { placesOf } from "./download-deps.js";

/** Evaluation's dependencies on this machine. */
export function evaluateDeps(environment: Environment): EvaluateDependencies {
  const live = {
    defaultTarget: () => defaultTarget(environment),
    find: (uri: string, signal: AbortSignal) => findPublished(uri, s3SettingsOf(environment.variables), signal),
    fetch: fetchPublished,
    places: () => placesOf(environment),
  };
  return { openTokens, openInference, places: placesOf(environment), live };
}

/** Where a run is published that names no target. Throws UserError where S3 is not ours and no bucket of it is named. */
export function defaultTarget({ s3, bucket, variables }: Environment): string {
  if (s3 === "external" && !variables["ROSLIN_BUCKET"])
    throw new UserError("no place to publish to is named: set publish.target, or ROSLIN_BUCKET to a bucket of yours");
  return `s3://${bucket}/models`;
}

/** Publishing's dependencies, with the S3 of these settings, the target of a run that names none, and the variables that may hold a key. */
export function publishDeps(settings: S3Settings, target: () => string, variables: Environment["variables"]): PublishDependencies {
  return {
    defaultTarget: target,
    openStore: (uri, options, signal, abilities = ALL_ABILITIES) => openStore(uri, { ...settings, abilities }, options, signal),
    checkTarget: (uri, wanted, signal) => checkTarget(uri, settings, wanted, signal),
    openSigner: (sign) => openSigner(sign, variables),
    exportLimits: EXPORT_LIMITS,
  };
}
