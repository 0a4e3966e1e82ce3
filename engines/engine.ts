import { writeSync } from "node:fs";
import type { RunConfig } from "../core/config/schema.js";
import type { Model } from "../core/model/family.js";
import type { Capacity } from "../core/training/step-plan.js";

/**
 * The seam between training and what computes it. Log, fence, checkpoints, ledger, poison, goodput and the coordinator of
 * ranks know an engine by this file alone; an engine knows nothing of them.
 *
 * An attempt's life: `begin` chooses what the ranks share, `prepare` makes it in the coordinator's process, `start` computes
 * in each rank, and at the first barrier `unlink` takes the shared things' names away.
 */

/** The section `train` of a run's settings. */
export type TrainSettings = RunConfig["train"];

/** What training needs of a machine, in bytes. */
export interface Needs {
  readonly parameters: number;
  /** of the parameters those that are trained: all, or adapters; absent: all */
  readonly trained?: number;
  /** of the machine's memory, where all ranks compute on the CPU */
  readonly memoryBytes: number;
  /** of the machine's memory, where each rank computes on a GPU of its own; absent: the engine uses no GPU */
  readonly hostBytes?: number;
  readonly diskBytes: number;
  /** the least of a GPU's memory that each of so many ranks needs; absent: the engine uses no GPU */
  readonly deviceBytes?: (ranks: number) => number;
}

/** What training needs of a machine's memory, in bytes; `onGpus`: its ranks compute on GPUs. */
export function memoryNeeded({ memoryBytes, hostBytes = memoryBytes }: Needs, onGpus: boolean): number {
  return onGpus ? hostBytes : memoryBytes;
}

/** The machine that an attempt runs on. */
export interface Machine {
  /** whether its ranks compute on GPUs; absent: on the CPU */
  readonly onGpus?: boolean;
  /** bytes that a new process can take without pushing others out */
  availableMemory(): number;
  /** free bytes on the disk that holds a directory */
  freeDisk(directory: string): number;
  /** where shared memory of so many bytes goes: the system's own directory, or the one given where that is too small */
  sharedDirectory(bytes: number, otherwise: string): string;
  /** a directory with a short path, for sockets */
  readonly socketDirectory: string;
}

/** Where an attempt takes place, before its ranks start. */
export interface AttemptPlace {
  readonly model: Model;
  readonly train: TrainSettings;
  /** the most that any micro-batch of the run needs */
  readonly capacity: Capacity;
  /** how many ranks there are */
  readonly ranks: number;
  readonly machine: Machine;
  /** the stage's directory */
  readonly directory: string;
  /** what the names of the attempt's shared files begin with, its generation included: a full stop and an ending follow */
  readonly prefix: string;
  /** Tells the user what is worth knowing and stops nothing. */
  say(note: string): void;
}

/** What computes training's steps. `Setup` is JSON that only the engine reads: it travels with the attempt to each rank. */
export interface TrainingEngine<Setup = unknown> {
  /** as in `train.engine` */
  readonly name: string;
  /** raised whenever the same step would give other bits: part of the stage's key and of the fingerprint */
  readonly version: string;
  /** what else the bits of an attempt with so many ranks depend on: versions of libraries, threads a rank, where AdamW is computed */
  libraries(ranks: number, train: TrainSettings): Promise<Readonly<Record<string, string | number>>>;
  /** Throws UserError where this machine lacks what the engine computes with. */
  check(): Promise<void>;
  /**
   * The least that training needs, on so many ranks, or on one a shard. `capacity` null: the rows are not known yet, and
   * every rank's process counts.
   */
  needs(model: Model, train: TrainSettings, capacity: Capacity | null, ranks?: number): Needs;
  /** Chooses how an attempt computes and what its ranks share; makes nothing yet. */
  begin(place: AttemptPlace): Setup;
  /** Makes what the ranks share, in the coordinator's process. Throws NoRoomError. */
  prepare(setup: Setup): Promise<void>;
  /** Removes the names of what the ranks share: all ranks have it open, or the attempt is over. May be called again. */
  unlink(setup: Setup): void;
  /** Starts a rank's computing in a thread or a process of its own. `hear` is not called before this has returned. */
  start(rank: RankInput<Setup>, hear: (event: ComputeEvent) => void): Compute;
  /** Removes what attempts of a stage before generation `before` left, whose coordinator was killed; `prefix` as in `attemptPrefix`. */
  clear(machine: Machine, directory: string, prefix: string, before: number): void;
}

/** One rank's work: plain JSON but for `whereabouts`, an open file. */
export interface RankInput<Setup = unknown> {
  /** this rank's number, 0-based, of `workers` */
  readonly worker: number;
  readonly workers: number;
  /** IP address at which the other ranks reach this one's machine: the loopback address when all are on one */
  readonly address: string;
  readonly train: TrainSettings;
  /** the stage's directory on this rank's machine */
  readonly directory: string;
  /** directories of the base model and of the tokens */
  readonly model: string;
  readonly tokens: string;
  /** steps done before it, 0 from the base model: also the index of its first step */
  readonly resumeStep: number;
  readonly totalSteps: number;
  /** the checkpoint to go on from; null: from the base model */
  readonly resume: Resume | null;
  /** the open file of this rank's whereabouts, for `tellShard` */
  readonly whereabouts: number;
  readonly setup: Setup;
}

/** A checkpoint to go on from. */
export interface Resume {
  /** steps that updated something: AdamW's count */
  readonly updates: number;
  /** of the last step's record; null: the loss was not scaled */
  readonly lossScale: number | null;
  /** paths of the shards' files, by shard: safetensors, each parameter's slice under the suffixes `MOMENTS` */
  readonly files: readonly string[];
}

/** What the coordinator wants done after a step. */
export const DIRECTIVES = ["go", "checkpoint", "stop", "finish"] as const;
/** One of them. */
export type Directive = (typeof DIRECTIVES)[number];

/** A rank's computing, as the rank's own process holds it. */
export interface Compute {
  /** All ranks have come to a barrier: this one may go on. `directive` counts at a step's end. */
  release(barrier: number, directive: Directive): void;
  /** The first rank's computing has said something to that of all others; absent: the engine's never does. */
  tell?(word: unknown): void;
  /** Ends the computing soon: the attempt is over. It says nothing more. */
  abort(): void;
  /** How often something moved since the start: it grows for as long as work goes on. */
  moved(): number;
  /** Resolves when the thread or process has ended, after its last event, to how it ended in words; never rejects. */
  readonly ended: Promise<string>;
}

/** What computing says. Barriers count from 1; the first comes when a rank has loaded all that it begins with. */
export type ComputeEvent =
  /** waits at a barrier for the others; `end` at the one that ends a step; `evaluates` at the one after which test rows are computed */
  | { readonly kind: "arrive"; readonly barrier: number; readonly end?: StepEnd; readonly evaluates?: true }
  /** the first rank's alone: JSON for the computing of the others */
  | { readonly kind: "tell"; readonly word: unknown }
  /** a shard's part of a checkpoint, once for each hosted shard after every directive but "go" */
  | {
      readonly kind: "shard";
      readonly stepsDone: number;
      readonly updates: number;
      readonly shard: number;
      readonly tensors: readonly TensorCopy[];
    }
  /** after the shards, when the directive was "finish" or "stop" */
  | { readonly kind: "done"; readonly stepsDone: number; readonly status: "finished" | "stopped" }
  | { readonly kind: "failed"; readonly name: string; readonly message: string };

/** The end of a step, the same on every rank but for the times. */
export interface StepEnd {
  readonly stepsDone: number;
  readonly record: StepRecord;
}

/** Seconds of a step by what the engine spent them on; what is missing to the whole is everything else. */
export type TimeSpent = Readonly<Record<string, number>>;

/** What one step leaves behind. */
export interface StepRecord {
  /** mean over the step's labels; null when it has none, and then nothing was updated */
  readonly loss: number | null;
  /** before clipping; null when nothing was updated */
  readonly norm: number | null;
  /** what the loss was multiplied with before the gradients were computed; absent: nothing */
  readonly lossScale?: number;
  readonly seconds: number;
  readonly spent: TimeSpent;
  /** tokens that went through the model */
  readonly tokens: number;
  /** positions that carried loss */
  readonly labels: number;
  readonly rows: number;
  /** on the test rows with the weights after the step; absent: it was not measured */
  readonly evaluation?: Evaluation;
}

/** The loss on the test rows. It is measured between a step's update and its end, and is no part of the step's `seconds`. */
export interface Evaluation {
  /** mean over the labels; null: it is not finite, and training goes on */
  readonly loss: number | null;
  readonly labels: number;
  readonly seconds: number;
}

/** One parameter's slice, or a moment's, as a checkpoint stores it. */
export interface TensorCopy {
  readonly name: string;
  /** [rows of the slice, …] */
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

/** Length of the field at the beginning of a whereabouts file that belongs to computing. */
export const SHARD_BYTES = 4;

/**
 * Notes on whose rows computing works: a shard's, or (null) no single one's. It takes microseconds and survives the death
 * of the process, because what was written is in the page cache.
 */
export function tellShard(file: number, shard: number | null): void {
  try {
    writeSync(file, `${shard ?? ""}`.padEnd(SHARD_BYTES), 0);
  } catch {
    // a full disk: this file is not worth a training
  }
}
