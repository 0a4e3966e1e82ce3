import type { RunConfig } from "../../../core/config/schema.js";
import type { Capacity } from "../../../core/training/step-plan.js";
import type { Artifact } from "../../../core/stages/stage.js";

/** One try at training from a checkpoint on: small JSON that travels to every worker. */
export interface TrainAttempt {
  /** this attempt's number in the commit log */
  readonly generation: number;
  readonly workers: number;
  /** the stage's directory */
  readonly directory: string;
  readonly config: RunConfig;
  /** inputs: "model" and "tokens" */
  readonly inputs: readonly Artifact[];
  /** steps done before it, 0 from the base model */
  readonly resumeStep: number;
  readonly totalSteps: number;
  /** number of the checkpoint's commit, null from the base model */
  readonly resumeFrom: number | null;
  /** the most that a micro-batch needs, which decides the layout of shared memory */
  readonly capacity: Capacity;
  /** whether there is memory to keep what blocks compute on the way forward; the bits are the same */
  readonly keepActivations: boolean;
  /** the file that the workers map, and the socket where they meet; both named by run and generation */
  readonly sharedPath: string;
  readonly socketPath: string;
  /** what was found damaged or short when it began, in a sentence each */
  readonly setAside: readonly string[];
}

/** How a worker's part of an attempt ended. */
export interface RankOutcome {
  /** "outgrown": at a checkpoint, for more workers are there than the attempt has; only worker 0 says so */
  readonly status: "finished" | "stopped" | "outgrown";
  /** steps done and committed */
  readonly step: number;
}

/** Seconds of a step that the first worker's compute thread spent on each; what is missing to the whole went into copies. */
export interface TimeSpent {
  graphs: number;
  /** at barriers, for the other workers */
  waiting: number;
  reduction: number;
  optimizer: number;
}

/** What one step leaves behind. */
export interface StepRecord {
  /** mean over the step's labels */
  readonly loss: number;
  /** before clipping */
  readonly norm: number;
  readonly seconds: number;
  readonly spent: TimeSpent;
  /** tokens that went through the blocks */
  readonly tokens: number;
  /** positions that carried loss */
  readonly labels: number;
  readonly rows: number;
}

/** What a result's bits depend on besides inputs and settings. */
export interface Fingerprint {
  readonly platform: string;
  readonly cpu: string;
  readonly node: string;
  readonly onnxruntime: string;
  readonly threadsPerRank: number;
}

/** A shard's file of a checkpoint. */
export interface ShardFile {
  readonly shard: number;
  /** relative to the stage's directory */
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
}

interface EntryBase {
  /** makes the bytes of two writers differ, so that who won can be told */
  readonly nonce: string;
  /** when it was written, ISO 8601: for the ledger alone, nothing that is trained depends on it */
  readonly time: string;
}

/** The start of an attempt; its number is the generation. */
export interface AttemptEntry extends EntryBase {
  readonly kind: "attempt";
  readonly workers: number;
  readonly resumeFrom: number | null;
  readonly resumeStep: number;
}

/** A checkpoint: it exists when this does. */
export interface CheckpointEntry extends EntryBase {
  readonly kind: "checkpoint";
  readonly generation: number;
  /** steps done */
  readonly step: number;
  /** of these, steps that updated something: AdamW's count */
  readonly updates: number;
  readonly reason: "interval" | "stop" | "finish";
  /** commit of the checkpoint before it in this line, null for the base model */
  readonly parent: number | null;
  readonly fingerprint: Fingerprint;
  readonly shards: readonly ShardFile[];
  /** the steps since the parent */
  readonly steps: readonly StepRecord[];
}

/** A checkpoint that failed its digests. */
export interface SetAsideEntry extends EntryBase {
  readonly kind: "set-aside";
  readonly commit: number;
  readonly reason: string;
}

/** What is read in the place of an entry whose bytes are gone or changed: its number stays taken, and what it said is lost. */
export interface LostEntry {
  readonly kind: "lost";
  readonly reason: string;
}

/** A worker that died while it was at a step: where it was. */
export interface Loss {
  readonly worker: number;
  /** 0-based */
  readonly step: number;
  /** those that it hosted */
  readonly shards: readonly number[];
  /** the one whose rows were in a graph when it died; null where it was none's */
  readonly shard: number | null;
}

/** A step that took its worker with it again and again. */
export interface Poison {
  /** 0-based */
  readonly step: number;
  /** those that every one of the dead workers hosted */
  readonly shards: readonly number[];
  /** the one whose rows were in a graph at every death; null where that was not so */
  readonly shard: number | null;
  readonly times: number;
}

/** How an attempt ended, as far as its workers left word; written by whoever comes next. */
export interface EndEntry extends EntryBase {
  readonly kind: "end";
  readonly generation: number;
  /** in our own words, fit for publishing */
  readonly what: string;
  /** the words of whatever ended it, where there were any */
  readonly message: string | null;
  /** deaths that may be a step's doing */
  readonly lost: readonly Loss[];
  /** set where the run was stopped for it: earlier deaths don't count any more */
  readonly poison: Poison | null;
}

/** Anything that the commit log holds. */
export type LogEntry = AttemptEntry | CheckpointEntry | SetAsideEntry | EndEntry | LostEntry;
