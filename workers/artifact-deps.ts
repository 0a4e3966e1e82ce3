import type { EvaluateDependencies } from "../activities/evaluate/index.js";
import type { PublishDependencies } from "../activities/publish/index.js";
import type { Environment } from "../cli/environment.js";
import { artifactOf, directoryDigest, listFiles, sha256, sha256File, writeFileAtomic } from "../infra/files.js";
import { openInference } from "../infra/inference/open.js";
import { lock } from "../infra/lock.js";
import { ModelFiles } from "../infra/model-files.js";
import { checkTarget } from "../infra/store/check.js";
import { openStore } from "../infra/store/open.js";
import { s3SettingsOf } from "../infra/store/s3.js";
import { readAll } from "../infra/store/store.js";
import { openTokens } from "../infra/tokens.js";

/** Evaluation's dependencies on a real machine. */
export const evaluateDeps: EvaluateDependencies = { files: { writeFileAtomic, lock, artifactOf }, openTokens, openInference };

/** Where a run is published that names no target. */
export function defaultTarget({ bucket }: Environment): string {
  return `s3://${bucket}/models`;
}

/** Publishing's dependencies, with the S3 that the environment's variables name. */
export function publishDeps(environment: Environment): PublishDependencies {
  const settings = s3SettingsOf(environment.variables);
  return {
    files: { writeFileAtomic, lock, artifactOf },
    defaultTarget: defaultTarget(environment),
    openStore: (uri) => openStore(uri, settings),
    checkTarget: (uri) => checkTarget(uri, settings),
    readAll,
    openModel: (directory) => new ModelFiles(directory),
    sha256,
    sha256File,
    listFiles,
    directoryDigest,
  };
}
