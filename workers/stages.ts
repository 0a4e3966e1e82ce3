import { join } from "node:path";
import { download } from "../activities/download/download.js";
import type { Places } from "../activities/download/source-plan.js";
import { evaluate } from "../activities/evaluate/evaluate.js";
import { preprocess } from "../activities/preprocess/preprocess.js";
import { publish } from "../activities/publish/publish.js";
import type { StageContext, StageRequest } from "../activities/common/stage.js";
import { beginTraining, noteAttempt, type Ranks } from "../activities/train/run/begin.js";
import { finishTraining } from "../activities/train/run/finish.js";
import type { Environment } from "./environment.js";
import type { StageName, StageResult } from "../core/stages/results.js";
import { s3SettingsOf } from "../infra/store/s3-store.js";
import { defaultTarget, evaluateDeps, publishDeps } from "./artifact-deps.js";
import { placesOf } from "./download-deps.js";
import { preprocessDeps } from "./preprocess-deps.js";
import { trainDeps } from "./train-deps.js";
import { type RankWork, runRank } from "../activities/train/rank/rank.js";
import { attemptBelow } from "../activities/train/rank/rank-place.js";
import type { TrainAttempt } from "../activities/train/log/entries.js";
import type { RankResult, TrainingBegun } from "../workflows/contract.js";

type Stage<Name extends StageName> = (request: StageRequest, context: StageContext) => Promise<StageResult<Name>>;

/** Every stage with its dependencies on this machine: what the workers offer as activities and the command line runs alone. */
export interface Stages {
  /** where stages keep their work by default: `$ROSLIN_HOME/stages` */
  readonly root: string;
  /** where models and datasets come from */
  readonly places: Places;
  readonly download: Stage<"download">;
  readonly preprocess: Stage<"preprocess">;
  /** `onGpus`: whether this machine's workers compute on GPUs */
  beginTraining(
    request: StageRequest,
    ranks: Ranks,
    onGpus: boolean,
    context: StageContext,
  ): Promise<TrainingBegun<TrainAttempt, StageResult<"train">>>;
  runRank(work: RankWork, context: StageContext): Promise<RankResult>;
  finishTraining(request: StageRequest, context: StageContext): Promise<StageResult<"train"> | null>;
  readonly evaluate: Stage<"evaluate">;
  readonly publish: Stage<"publish">;
}

/** Puts the stages together with the hub, the stores and the machine that the environment names. */
export function makeStages(environment: Environment): Stages {
  const s3 = s3SettingsOf(environment.variables);
  const places = placesOf(environment);
  const forPublishing = publishDeps(s3, environment, () => defaultTarget(environment));
  const root = join(environment.home, "stages");
  return {
    root,
    places,
    download: (request, context) => download(places, request, context),
    preprocess: (request, context) => preprocess(preprocessDeps(), request, context),
    beginTraining: async (request, ranks, onGpus, context) => {
      await noteAttempt(trainDeps, request, context.signal);
      return beginTraining({ ...trainDeps, machine: { ...trainDeps.machine, onGpus } }, request, ranks, context);
    },
    runRank: (work, context) => runRank(trainDeps, { ...work, attempt: attemptBelow(root, work.attempt) }, context),
    finishTraining: (request, context) => finishTraining(trainDeps, request, context),
    evaluate: (request, context) => evaluate(evaluateDeps(environment), request, context),
    publish: (request, context) => publish(forPublishing, request, context),
  };
}
