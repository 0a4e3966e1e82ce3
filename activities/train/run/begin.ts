import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { RunConfig } from "../../../core/config/schema.js";
import type { Artifact, StageResult } from "../../../core/stages/results.js";
import { trainingPlan } from "../../../core/training/order.js";
import { capacityOf, planEvaluation, type Capacity } from "../../../core/training/step-plan.js";
import type { Model } from "../../../core/model/family.js";
import { dropoutNote } from "../../../core/model/shape.js";
import { openTokens } from "../../../infra/dataset/tokens.js";
import { processStart } from "../../../infra/process/process-start.js";
import { ModelFiles } from "../../../infra/weights/model-files.js";
import { trainedModel } from "../../../infra/weights/trained-model.js";
import type { RankPlace, TrainingBegun } from "../../../workflows/contract.js";
import { Stage, WANTED, type StageContext, type StageRequest } from "../../common/stage.js";
import { trainDefinition } from "../definition.js";
import type { TrainDeps } from "../deps.js";
import { noteEnd } from "../log/attempt-end.js";
import { SHARDS, type Checkpoint } from "../log/checkpoint.js";
import type { CommitLog } from "../log/commit-log.js";
import type { TrainAttempt } from "../log/entries.js";
import { poisonError } from "../log/poison.js";
import { trainingPlace, type TrainingPlace } from "../log/training-place.js";
import { attemptPrefix, clearAttempts } from "./leftovers.js";
import { finishTraining } from "./finish.js";
import { checkRoom } from "./room.js";
import { takeOver } from "./take-over.js";

/**
 * Notes how the last attempt ended. The caller started its ranks and is still there, so deaths count. Throws UserError when
 * it was the third in a row that one step has cost, with its rows named.
 */
export async function noteAttempt(
  deps: Pick<TrainDeps, "openStore" | "openShared">,
  request: StageRequest,
  signal: AbortSignal,
): Promise<void> {
  const { train } = request.config;
  const stage = new Stage(trainDefinition, request);
  const { directory } = stage;
  const place = trainingPlace(deps, directory, train, { signal, onNote: () => undefined });
  const end = await noteEnd(await place.log(), directory, train.shards, processStart, true);
  if (end?.poison == null) return;
  const tokens = await openTokens(stage.path("tokens"));
  throw poisonError(end.poison, tokens.train, train);
}

/** How many ranks an attempt is to have, and in a run that several machines share, where they are. */
export interface Ranks {
  readonly workers: number;
  readonly places?: readonly RankPlace[];
}

/** The finished result, or the next attempt: its place in the commit log, and where it goes on. */
export async function beginTraining(
  deps: TrainDeps,
  request: StageRequest,
  ranks: Ranks,
  context: StageContext,
): Promise<TrainingBegun<TrainAttempt, StageResult<"train">>> {
  const stage = new Stage(trainDefinition, request);
  const finished = await stage.reusable(context);
  if (finished !== null) return { finished };
  await stage.checkInputs(context.signal);
  await stage.begin();
  await mkdir(join(stage.directory, SHARDS), { recursive: true });

  const notes = new Notes(context);
  const job = await readJob(request, stage);
  const dropout = dropoutNote(job.model.shape);
  if (dropout !== null) notes.say(dropout, true);
  if (job.nothingToEvaluate)
    notes.say("train.evalEverySteps measures nothing, because no test row has a label: see preprocess.testRows", true);
  const place = trainingPlace(deps, stage.directory, job.config.train, { signal: context.signal, onNote: notes.say });
  // another machine, after an upgrade, knows by it what this directory's training is
  await place.keep(WANTED);
  const log = await place.log();
  const own = await resumePoint(place, log, job, notes, context.signal);
  if (own !== null && own.entry.step >= job.totalSteps) {
    const made = await finishTraining(deps, request, context);
    return made === null ? beginTraining(deps, request, ranks, context) : { finished: made };
  }
  // before anything is taken over: what cannot be gone on with here stays with the engine that can
  await deps.engines[request.config.train.engine].check();
  const resume = await takeOver({ deps, request, stage, place, log, totalSteps: job.totalSteps, context, say: notes.say }, own);
  return { attempt: await newAttempt(deps, job, place, log, resume, ranks, notes) };
}

/** What all attempts at a request have in common. */
interface Job {
  readonly config: RunConfig;
  /** the stage's */
  readonly directory: string;
  /** the base model and the tokens */
  readonly inputs: readonly Artifact[];
  readonly model: Model;
  readonly capacity: Capacity;
  readonly totalSteps: number;
  /** the loss on test rows is wanted, and there are none with labels */
  readonly nothingToEvaluate: boolean;
}

async function readJob({ config }: StageRequest, stage: Stage<"train">): Promise<Job> {
  const { train } = config;
  const { directory } = stage;
  const inputs = trainDefinition.inputs.map((name) => stage.input(name));
  const { train: split, test } = await openTokens(stage.path("tokens"));
  const { totalSteps } = trainingPlan(split.count, train);
  const nothingToEvaluate = train.evalEverySteps !== null && planEvaluation(test, train).positions === 0;
  const files = new ModelFiles(stage.path("model"));
  // of the weights only where they lie counts here
  files.close();
  const model = trainedModel(files, train);
  return { config, directory, inputs, model, capacity: capacityOf(split, train, test), totalSteps, nothingToEvaluate };
}

/** What the user is told while an attempt begins; the lasting notes travel with it. */
class Notes {
  readonly lasting: string[] = [];
  private readonly context: StageContext;

  constructor(context: StageContext) {
    this.context = context;
  }

  readonly say = (note: string, lasting?: true): void => {
    if (lasting) this.lasting.push(note);
    this.context.progress({ stage: "train", done: 0, total: 0, unit: "steps", note, ...(lasting && { lasting }) });
  };
}

/** The checkpoint to go on from; null: from the base model. */
async function resumePoint(place: TrainingPlace, log: CommitLog, job: Job, notes: Notes, signal: AbortSignal): Promise<Checkpoint | null> {
  // nobody has noted the last attempt's end: what had started its ranks was killed with them
  await noteEnd(log, job.directory, job.config.train.shards, processStart, false);
  return place.lastGood(log, signal, notes.say);
}

/** Checks that there is room, takes the next generation, and clears what is left of those before it. */
async function newAttempt(
  { engines, machine }: TrainDeps,
  { config, directory, inputs, model, capacity, totalSteps }: Job,
  place: TrainingPlace,
  log: CommitLog,
  resume: Checkpoint | null,
  { workers, places }: Ranks,
  notes: Notes,
): Promise<TrainAttempt> {
  const { train } = config;
  const engine = engines[train.engine];
  const isFirst = !log.entries.some(({ kind }) => kind === "attempt");
  const hosts = Math.min(workers, train.shards);
  const here = places?.slice(0, hosts).filter(({ host }) => host === places[0]!.host).length ?? hosts;
  checkRoom(machine, directory, engine.needs(model, train, capacity, hosts), isFirst, here / hosts);
  const resumeStep = resume?.entry.step ?? 0;
  const resumeFrom = resume?.commit ?? null;
  const generation = await log.append({ kind: "attempt", workers: hosts, resumeFrom, resumeStep });
  const prefix = `${attemptPrefix(directory)}g${generation}`;
  const setup = engine.begin({ model, train, capacity, ranks: hosts, machine, directory, prefix, say: (note) => notes.say(note, true) });
  clearAttempts({ engines, machine }, directory, generation);
  await place.prune(log, train.keepCheckpoints, generation);
  return {
    generation,
    workers: hosts,
    directory,
    config,
    inputs,
    resumeStep,
    totalSteps,
    resumeFrom,
    ...(places !== undefined && { places: places.slice(0, hosts) }),
    engine: setup,
    socketPath: join(machine.socketDirectory, `${prefix}.sock`),
    setAside: notes.lasting,
  };
}
