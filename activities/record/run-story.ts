import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../../core/errors.js";
import { MANIFEST, parseManifest, type Manifest } from "../../core/format/manifest.js";
import { countOf, parameterCount, trainedParameters, type Model } from "../../core/model/family.js";
import { expectedModel } from "../../core/model/lora/adapter.js";
import type { RunConfig } from "../../core/config/schema.js";
import { outputNamed, STAGES, type Artifact, type StageResult } from "../../core/stages/results.js";
import { count } from "../../core/units.js";
import { trainingPlan } from "../../core/training/order.js";
import { sha256 } from "../../infra/disk/files.js";
import type { ObjectStore } from "../../infra/store/store.js";
import { readModelConfig } from "../../infra/weights/read-model-config.js";
import type { StageInput } from "../../workflows/contract.js";
import { placeInRun } from "../common/stage.js";
import type { Evaluation } from "../evaluate/evaluation.js";
import { descentOfSources } from "../report/descent-of-sources.js";
import type { ReportStory } from "../report/story.js";
import { findStages, stageNamed, type FoundStage } from "./find-stages.js";
import { trainingSoFar, type TrainingSoFar } from "./training-so-far.js";

/** A run, as it was found. */
export interface RunRecord {
  /** as a person calls it */
  readonly name: string;
  /** what the last of its stages that began was given */
  readonly request: StageInput;
  /** where its stages work */
  readonly root: string;
  /** how it ended early, in a sentence; null: nobody says so */
  readonly failure: string | null;
  /** whether somebody says that it is under way */
  readonly isRunning: boolean;
}

/** What a report tells of a run as its directories are now. `openStore` opens what has a training's commit log. */
export async function runStory(
  { name, request, root, failure, isRunning }: RunRecord,
  openStore: (directory: string, config: RunConfig) => ObjectStore,
): Promise<ReportStory> {
  const { config } = request;
  const found = await findStages(request, root);
  const [download, preprocess, train, evaluate, publish] = [
    stageNamed(found, "download"),
    stageNamed(found, "preprocess")?.result,
    stageNamed(found, "train"),
    stageNamed(found, "evaluate"),
    stageNamed(found, "publish"),
  ];
  const trained = train?.result;
  const soFar = train !== undefined && trained == null ? await trainingSoFar(train.directory, openStore(train.directory, config)) : null;
  const model = download === undefined ? null : modelIn(download);
  const prepared = preprocess?.metrics ?? null;
  const totalSteps = prepared?.trainRows === undefined ? undefined : plannedSteps(prepared.trainRows, config);
  const manifest = await manifestIn(publish);
  const known = descentOfSources(config.model.source, config.dataset.source, null);
  const results = found.flatMap(({ result }) => result?.outputs ?? []);
  return {
    title: publish?.result?.metrics.version ?? name,
    config,
    family: model?.family ?? null,
    model: model?.shape ?? null,
    parameters: model === null ? null : parameterCount(model),
    ...adapterOf(model, config),
    ...trainedPart(trained, soFar),
    evaluation: evaluate === undefined ? null : await evaluationIn(evaluate),
    prompt: null,
    prepared,
    override: manifest?.gate?.override ?? null,
    descent: {
      licence: manifest?.licence ?? known.licence,
      baseModel: manifest?.baseModel ?? known.baseModel,
    },
    stateDigest: trained?.stateDigest ?? null,
    fingerprint: trained?.metrics.oneKindOfMachine === true ? (trained.metrics.fingerprint ?? null) : null,
    computed: trained?.metrics.computed,
    digests: Object.fromEntries(
      (["model", "dataset", "tokens", "tuned"] as const).flatMap((output) => {
        const made = results.find((each) => each.name === output);
        return made === undefined ? [] : [[output === "model" ? "base model" : output, made.sha256]];
      }),
    ),
    ...(publish?.result == null && {
      unfinished: standing(found, { given: request.inputs.length, failure, isRunning, soFar, totalSteps }),
    }),
    totalSteps: trained?.metrics.steps ?? totalSteps,
  };
}

function trainedPart(
  trained: StageResult<"train"> | null | undefined,
  soFar: TrainingSoFar | null,
): Pick<ReportStory, "losses" | "curves" | "tokens" | "ledger"> {
  if (trained == null) return soFar ?? { losses: [], tokens: null, ledger: null };
  const { losses = [], tokens = null, ledger = null } = trained.metrics;
  return { losses, tokens, ledger, curves: trained.metrics };
}

/** The model that a download left; null: it has not finished, or this version cannot read the model's config. */
function modelIn(download: FoundStage<"download">): Model | null {
  try {
    return download.result === null ? null : readModelConfig(outputPath(download, outputNamed(download.result.outputs, "model")));
  } catch {
    return null;
  }
}

/** What an evaluation left; null: it has not finished. Throws UserError if the file is gone or not what the stage left. */
async function evaluationIn(evaluate: FoundStage<"evaluate">): Promise<Evaluation | null> {
  if (evaluate.result === null) return null;
  const report = outputNamed(evaluate.result.outputs, "report");
  const path = outputPath(evaluate, report);
  const bytes = existsSync(path) ? await readFile(path) : null;
  if (bytes !== null && sha256(bytes) === report.sha256) return JSON.parse(bytes.toString("utf8")) as Evaluation;
  throw new UserError(
    `${basename(path)} of a finished evaluation is not what the stage left: run the stage evaluate again, which makes it anew`,
    {
      file: placeInRun(join(evaluate.directory, basename(path))),
      expected: report.sha256,
      got: bytes === null ? "nothing" : sha256(bytes),
    },
  );
}

/** Where an output is now: a stage's directory that was moved has it beside the record. */
function outputPath({ directory }: FoundStage, { uri }: Artifact): string {
  const recorded = fileURLToPath(uri);
  return existsSync(recorded) ? recorded : join(directory, basename(recorded));
}

function adapterOf(model: Model | null, { train, publish }: RunConfig): Pick<ReportStory, "adapter"> {
  if (model === null || train.method !== "lora") return {};
  const { adapters = [], parameters } = expectedModel(model, train);
  return { adapter: { modules: adapters.length, trained: countOf(trainedParameters(parameters)), merged: publish.merge, base: null } };
}

/** What was published; null: nothing yet. */
async function manifestIn(publish: FoundStage<"publish"> | undefined): Promise<Manifest | null> {
  const path = publish?.result == null ? null : join(publish.directory, MANIFEST);
  return path === null || !existsSync(path) ? null : parseManifest(await readFile(path, "utf8"), placeInRun(path));
}

function plannedSteps(trainRows: number, { train }: RunConfig): number {
  return trainingPlan(trainRows, train).totalSteps;
}

/** How a run that has not published stands. */
function standing(
  found: readonly FoundStage[],
  {
    given,
    failure,
    isRunning,
    soFar,
    totalSteps,
  }: Pick<RunRecord, "failure" | "isRunning"> & {
    /** how many outputs of earlier stages the last one was given */
    readonly given: number;
    readonly soFar: TrainingSoFar | null;
    readonly totalSteps: number | undefined;
  },
): string {
  if (given > 0 && found.every(({ result }) => result === null)) return "Its stages are on another machine, or were removed";
  const at = found.at(-1)?.name ?? STAGES[0];
  const steps =
    soFar === null ? "" : `, ${count(soFar.losses.length)}${totalSteps === undefined ? "" : ` of ${count(totalSteps)}`} steps done`;
  if (failure !== null) return `Ended in ${at}${steps}: ${failure}`;
  return isRunning ? `Under way in ${at}${steps}` : `Not finished: in ${at}${steps}`;
}
