import { join } from "node:path";
import { download, type DownloadDependencies } from "../activities/download/index.js";
import { evaluate } from "../activities/evaluate/index.js";
import { preprocess, type PreprocessDependencies } from "../activities/preprocess/index.js";
import { publish } from "../activities/publish/index.js";
import type { StageContext, StageRequest } from "../activities/stage.js";
import { beginTraining, finishTraining, runRank, type RankOutcome, type TrainAttempt } from "../activities/train/index.js";
import type { Environment } from "./environment.js";
import type { StageResult } from "../core/stage.js";
import { readRows } from "../infra/dataset/rows.js";
import { artifactOf, directoryDigest, writeFileAtomic } from "../infra/files.js";
import { createHub, type Hub } from "../infra/hub/hub.js";
import { lock } from "../infra/lock.js";
import { ModelFiles } from "../infra/model-files.js";
import { s3SettingsOf } from "../infra/store/s3.js";
import { defaultTarget, evaluateDeps, publishDeps } from "./artifact-deps.js";
import { rankDeps, trainDeps } from "./train-deps.js";

type Stage = (request: StageRequest, context: StageContext) => Promise<StageResult>;

/** Every stage with its dependencies on this machine: what the workers offer as activities and the command line runs alone. */
export interface Stages {
  /** where stages keep their work when nobody says otherwise: `$ROSLIN_HOME/stages` */
  readonly root: string;
  readonly hub: Hub;
  readonly download: Stage;
  readonly preprocess: Stage;
  beginTraining(
    request: StageRequest,
    workers: number,
    context: StageContext,
  ): Promise<{ readonly finished: StageResult } | { readonly attempt: TrainAttempt }>;
  runRank(input: { readonly attempt: TrainAttempt; readonly worker: number }, context: StageContext): Promise<RankOutcome>;
  finishTraining(request: StageRequest, context: StageContext): Promise<StageResult | null>;
  readonly evaluate: Stage;
  readonly publish: Stage;
}

/** Puts the stages together with the hub, the stores and the machine that the environment names. */
export function makeStages(environment: Environment): Stages {
  const hub = createHub(environment.hub);
  const files = { writeFileAtomic, lock, artifactOf };
  const checkModel = (directory: string): void => new ModelFiles(directory).close();
  const downloadDeps: DownloadDependencies = { files, hub, directoryDigest, checkModel };
  const preprocessDeps: PreprocessDependencies = { files, readRows };
  const forPublishing = publishDeps(s3SettingsOf(environment.variables), defaultTarget(environment));
  return {
    root: join(environment.home, "stages"),
    hub,
    download: (request, context) => download(downloadDeps, request, context),
    preprocess: (request, context) => preprocess(preprocessDeps, request, context),
    beginTraining: (request, workers, context) => beginTraining(trainDeps, request, workers, context),
    runRank: (input, context) => runRank(rankDeps, input, context),
    finishTraining: (request, context) => finishTraining(trainDeps, request, context),
    evaluate: (request, context) => evaluate(evaluateDeps, request, context),
    publish: (request, context) => publish(forPublishing, request, context),
  };
}
