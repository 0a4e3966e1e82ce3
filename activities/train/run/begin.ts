import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { trainingPlan } from "../../../core/training/order.js";
import { NoRoomError, UserError } from "../../../core/errors.js";
import { activationBytes, trainingNeeds, type Needs } from "../../../engines/onnx/needs.js";
import { bytes as readable } from "../../../core/units.js";
import { capacityOf } from "../../../core/training/step-plan.js";
import { sharedLayout } from "../../../engines/onnx/layout.js";
import { outputNamed, type StageResult } from "../../../core/stages/stage.js";
import { readModelConfig } from "../../../infra/weights/read-model-config.js";
import { Stage, type StageContext, type StageRequest } from "../../common/stage.js";
import { noteEnd } from "../log/attempt-end.js";
import { lastGood, pruneShards, SHARDS } from "../log/checkpoint.js";
import { finish } from "./finish.js";
import { openLog } from "../log/commit-log.js";
import { poisonError } from "../log/poison.js";
import type { TrainAttempt } from "../log/entries.js";
import { MAX_FILE_BYTES } from "./weight-files.js";
import { trainDefinition } from "../definition.js";
import type { TrainDeps } from "../deps.js";

/**
 * Notes how the last attempt ended, for whoever started its workers and is still there: deaths count. Throws UserError
 * when it was the third in a row that one step has cost, with its rows named.
 */
export async function noteAttempt(deps: TrainDeps, request: StageRequest): Promise<void> {
  const { train } = request.config;
  const { directory } = new Stage(trainDefinition, request);
  const end = await noteEnd(await openLog(deps.openStore(directory)), directory, train.shards, deps.processStart, true);
  if (end?.poison == null) return;
  const tokens = await deps.openTokens(fileURLToPath(outputNamed(request.inputs, "tokens").uri));
  throw poisonError(end.poison, tokens.train, train);
}

/** The finished result, or the next attempt: its place in the commit log, and where it goes on. */
export async function beginTraining(
  deps: TrainDeps,
  request: StageRequest,
  workers: number,
  context: StageContext,
): Promise<{ readonly finished: StageResult<"train"> } | { readonly attempt: TrainAttempt }> {
  const { config } = request;
  const { train } = config;
  const stage = new Stage(trainDefinition, request);
  const { directory } = stage;
  const finished = await stage.reusable(context);
  if (finished !== null) return { finished };
  await stage.checkInputs(context.signal);
  await stage.begin();
  await mkdir(join(directory, SHARDS), { recursive: true });

  const inputs = trainDefinition.inputs.map((name) => outputNamed(request.inputs, name));
  const setAside: string[] = [];
  const say = (note: string, lasting?: true): void => {
    if (lasting) setAside.push(note);
    context.progress({ stage: "train", done: 0, total: 0, unit: "steps", note, ...(lasting && { lasting }) });
  };
  const split = (await deps.openTokens(fileURLToPath(outputNamed(inputs, "tokens").uri))).train;
  const { totalSteps } = trainingPlan(split.count, train);
  const model = readModelConfig(fileURLToPath(outputNamed(inputs, "model").uri));
  const capacity = capacityOf(split, train);
  const layout = sharedLayout(model, train.shards, capacity);

  const log = await openLog(deps.openStore(directory));
  // nobody has noted it: what had started the workers was killed as well
  await noteEnd(log, directory, train.shards, deps.processStart, false);
  const good = await lastGood(log, directory, (path) => deps.sha256File(path, context.signal), say);
  if (good !== null && good.entry.step >= totalSteps) {
    const made = await finishTraining(deps, request, context);
    return made === null ? beginTraining(deps, request, workers, context) : { finished: made };
  }

  const isFirst = !log.entries.some(({ kind }) => kind === "attempt");
  const needs = trainingNeeds(model, train, layout);
  checkRoom(deps, directory, needs, isFirst);
  const { kept, head } = activationBytes(model, capacity);
  const resumeStep = good?.entry.step ?? 0;
  const resumeFrom = good?.commit ?? null;
  const hosts = Math.min(workers, train.shards);
  const generation = await log.append({ kind: "attempt", workers: hosts, resumeFrom, resumeStep });
  const prefix = attemptPrefix(directory);
  const sharedIn = deps.sharedDirectory(
    layout.segments.reduce((sum, bytes) => sum + bytes, 0),
    directory,
  );
  // where there is no /dev/shm, as on macOS, a file is nothing to tell of
  if (sharedIn !== deps.sharedDirectory(0, directory))
    say("/dev/shm has too little room for the weights that workers share: they lie in a file, which may be slower", true);
  clearAttempts(deps, directory, generation);
  await pruneShards(log, directory, train.keepCheckpoints, generation);
  const sharedPath = join(sharedIn, `${prefix}g${generation}.weights`);
  const socketPath = join(deps.socketDirectory, `${prefix}g${generation}.sock`);
  return {
    attempt: {
      generation,
      workers: hosts,
      directory,
      config,
      inputs,
      resumeStep,
      totalSteps,
      resumeFrom,
      capacity,
      keepActivations: needs.memoryBytes + head + kept < KEEP_WITHIN * deps.availableMemory(),
      sharedPath,
      socketPath,
      setAside,
    },
  };
}

/** Activations are kept where training then still leaves a good part of the free memory to others, and to what it allocates for a moment. */
const KEEP_WITHIN = 0.6;

/** Removes the shared memory and sockets that attempts before a generation left, whose first worker was killed before it could unname them. */
export function clearAttempts(
  { sharedDirectory, clearShared, socketDirectory }: Pick<TrainDeps, "sharedDirectory" | "clearShared" | "socketDirectory">,
  directory: string,
  before: number,
): void {
  const places = new Set([sharedDirectory(0, directory), directory, socketDirectory]);
  for (const place of places) clearShared(place, attemptPrefix(directory), before);
}

/** What the names of a run's shared memory and sockets begin with. */
export function attemptPrefix(directory: string): string {
  return `roslin-${createHash("sha256").update(directory).digest("hex").slice(0, 12)}-`;
}

/**
 * Makes the stage's outputs from the last checkpoint, which holds every step; null when that is no longer whole: begin
 * again. Weights of more than `maxFileBytes` are written as several files.
 */
export async function finishTraining(
  deps: TrainDeps,
  request: StageRequest,
  context: StageContext,
  maxFileBytes: number = MAX_FILE_BYTES,
): Promise<StageResult<"train"> | null> {
  const stage = new Stage(trainDefinition, request);
  const result = (await stage.finished()) ?? (await finish(deps, request, stage, context, maxFileBytes));
  if (result !== null) clearAttempts(deps, stage.directory, Infinity);
  return result;
}

/**
 * Says before the start what would otherwise be a kill without a reason an hour later. A lack of disk may pass, for there
 * was enough when the run began; that of memory once there was an attempt, of which a stopped worker may still hold it.
 */
function checkRoom(deps: TrainDeps, directory: string, { parameters, memoryBytes, diskBytes }: Needs, isFirst: boolean): void {
  const have = deps.availableMemory();
  const Lack = isFirst ? UserError : NoRoomError;
  if (memoryBytes > have)
    throw new Lack("training this model needs more memory than this machine has free", {
      need: readable(memoryBytes),
      have: readable(have),
      parameters,
    });
  // what an earlier attempt left is part of what this one needs
  const shards = readdirSync(join(directory, SHARDS)).map((name) => statSync(join(directory, SHARDS, name)).size);
  const free = deps.freeDisk(directory) + shards.reduce((sum, bytes) => sum + bytes, 0);
  if (diskBytes > free)
    throw new NoRoomError("the checkpoints need more disk than is free; free some, or lower train.keepCheckpoints", {
      need: readable(diskBytes),
      have: readable(free),
      directory,
    });
}
