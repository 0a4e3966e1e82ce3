import type { MessagePort } from "node:worker_threads";
import { learningRateAt } from "../../core/training/learning-rate.js";
import { planStep } from "../../core/training/step-plan.js";
import { sharedLayout } from "./layout.js";
import { hostedShards } from "../../core/training/slices.js";
import { outputNamed } from "../../core/stages/stage.js";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ModelFiles, SafetensorsFile } from "../../infra/weights/model-files.js";
import type { createSession } from "./session/session.js";
import type { openTokens } from "../../infra/dataset/tokens.js";
import type { StepRecord, TrainAttempt } from "../../activities/train/log/entries.js";
import { tellShard } from "../../activities/train/log/whereabouts.js";
import { Control } from "./control.js";
import { openSessions, Workplace } from "./step/workplace.js";
import { copyOf, fillFromBase, fillFromCheckpoint, type TensorCopy } from "./step/state.js";
import { trainStep } from "./step/step.js";

/** The compute thread of a worker: everything that blocks. */

/** What its main thread hands it. */
export interface ComputeInput {
  readonly attempt: TrainAttempt;
  readonly worker: number;
  readonly control: SharedArrayBuffer;
  /** the open file of this worker's whereabouts */
  readonly whereabouts: number;
  /** shard files of the checkpoint to resume from, by shard; null from the base model */
  readonly resume: { readonly updates: number; readonly files: readonly string[] } | null;
}

/** What it tells its main thread. */
export type ComputeMessage =
  | { readonly kind: "arrive"; readonly index: number; readonly record?: StepRecord; readonly step?: number }
  | {
      readonly kind: "shard";
      readonly step: number;
      readonly updates: number;
      readonly shard: number;
      readonly tensors: readonly TensorCopy[];
    }
  | { readonly kind: "done"; readonly step: number; readonly status: "finished" | "stopped" }
  | { readonly kind: "failed"; readonly name: string; readonly message: string };

/** What computing is handed. */
export interface ComputeDeps {
  readonly createSession: typeof createSession;
  readonly openTokens: typeof openTokens;
  readonly openModel: (directory: string) => ModelFiles;
  readonly openSafetensors: (path: string) => SafetensorsFile;
  readonly mapShared: (path: string, segments: readonly number[]) => ArrayBuffer[];
}

/** Trains from the attempt's first step until its last, or until the hub says stop. */
export async function compute(deps: ComputeDeps, input: ComputeInput, port: Pick<MessagePort, "postMessage">): Promise<void> {
  const { attempt, worker, resume } = input;
  const { train } = attempt.config;
  const say = (message: ComputeMessage, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);
  const control = new Control(input.control, (shard) => tellShard(input.whereabouts, shard));
  const files = deps.openModel(fileURLToPath(outputNamed(attempt.inputs, "model").uri));
  const { model } = files;
  const split = (await deps.openTokens(fileURLToPath(outputNamed(attempt.inputs, "tokens").uri))).train;
  const layout = sharedLayout(model, train.shards, attempt.capacity);
  const arrive = (index: number, record?: unknown): void =>
    say(record === undefined ? { kind: "arrive", index } : { kind: "arrive", index, ...(record as { record: StepRecord; step: number }) });
  const place = new Workplace({
    model,
    layout,
    capacity: attempt.capacity,
    shards: train.shards,
    hosted: hostedShards(train.shards, attempt.workers, worker),
    sessions: await openSessions(model, deps.createSession),
    control,
    keepActivations: attempt.keepActivations,
    segments: deps.mapShared(attempt.sharedPath, layout.segments),
    arrive,
  });
  for (const owner of place.owners) {
    if (resume === null) fillFromBase(owner, files);
    else {
      const file = deps.openSafetensors(join(attempt.directory, resume.files[owner.shard]!));
      fillFromCheckpoint(owner, file);
      file.close();
    }
    control.step();
  }
  files.close();
  place.barrier();

  let updates = resume?.updates ?? 0;
  // a step ends where its record is made: waiting for the others after it, and copying for a checkpoint, are the next one's time
  let started = performance.now();
  place.takeTimes();
  for (let step = attempt.resumeStep; step < attempt.totalSteps; step++) {
    const plan = planStep(split, train, step);
    const outcome = await trainStep(place, plan, train, learningRateAt(train, step, attempt.totalSteps), step, updates);
    if (outcome.updated) updates++;
    const ended = performance.now();
    const record: StepRecord = {
      loss: outcome.loss,
      norm: outcome.norm,
      seconds: (ended - started) / 1000,
      spent: place.takeTimes(),
      tokens: plan.tokens,
      labels: plan.positions,
      rows: plan.rows,
    };
    started = ended;
    const directive = place.barrier({ record, step: step + 1 });
    if (directive !== "go")
      for (const owner of place.owners) {
        const tensors = copyOf(owner);
        say(
          { kind: "shard", step: step + 1, updates, shard: owner.shard, tensors },
          tensors.map((tensor) => tensor.data.buffer),
        );
      }
    if (directive === "stop" || directive === "finish")
      return say({ kind: "done", step: step + 1, status: directive === "stop" ? "stopped" : "finished" });
  }
}
