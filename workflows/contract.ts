import type { RunConfig } from "../core/config/schema.js";
import type { Override } from "../core/stages/override.js";
import type { Artifact, SentResult, StageName } from "../core/stages/results.js";

/**
 * The names and shapes in which workflows, workers and clients speak of each other. Only references travel:
 * every payload stays below 64 KB.
 */

/** Where workflow tasks, and activities that any machine may do, are polled for. */
export const TASK_QUEUE = "roslin";
/** The workflow that fine-tunes; its one argument is a RunConfig with every field optional. */
export const FINETUNE = "finetune";
/** The workflow, one in a namespace, that lends the GPU workers to one run at a time. */
export const LEASE = "gpuLease";
/** Its workflow id. */
export const LEASE_ID = "roslin-gpu-lease";

/** The queue of a host's stages: what one leaves on a disk, the next one finds on this host only. */
export function stageQueue(host: string): string {
  return `roslin-stages-${host}`;
}

/** The queue of one GPU worker; it survives the process. */
export function gpuQueue(host: string, slot: number): string {
  return `roslin-gpu-${host}-${slot}`;
}

/** Search attributes that runs set, those of them that the namespace knows, with the types to register them with. */
export const SEARCH_ATTRIBUTES = {
  RoslinStage: "Keyword",
  RoslinModel: "Keyword",
  RoslinDataset: "Keyword",
  RoslinGate: "Keyword",
  RoslinPerplexity: "Double",
} as const;
/** One of them. */
export type SearchAttributeName = keyof typeof SEARCH_ATTRIBUTES;

/** What `plan` found out about the place where the run runs. */
export interface Plan {
  /** the config with everything filled in that depends on the place: publish.target */
  readonly config: RunConfig;
  /** the host of the worker that planned; all stages run there, and its GPU workers train: at first, if the run is shared */
  readonly host: string;
  readonly searchAttributes: readonly SearchAttributeName[];
  /** what is worth knowing and stops nothing */
  readonly notes: readonly string[];
  /** where the machine that planned serves pages about runs; absent: nowhere */
  readonly reportAddress?: string;
}

/** What a stage's activity is given. */
export interface StageInput {
  readonly config: RunConfig;
  /** outputs of the earlier stages, by name; the trained model is named "tuned" */
  readonly inputs: readonly Artifact[];
  /** of a gate that was not passed, for publishing alone; absent: there is none */
  readonly override?: Override;
}

/** Where a rank computes. */
export interface RankPlace {
  readonly host: string;
  /** the IP address at which the other machines reach it */
  readonly address: string;
}

/** What the workflow reads of an attempt at training; `beginTraining` says more, which the workflow hands on to the ranks whole. */
export interface AttemptHead {
  /** number of the attempt in the commit log */
  readonly generation: number;
  readonly workers: number;
  /** steps that are committed */
  readonly resumeStep: number;
  readonly totalSteps: number;
  /** where the ranks are, in rank order; only in a run that several machines may train */
  readonly places?: readonly RankPlace[];
  /** checkpoints that were found damaged just now and why, room that was short; an earlier version did not say */
  readonly setAside?: readonly string[];
}

/** Training's result, if it is finished, or the next attempt at it. */
export type TrainingBegun<Attempt extends AttemptHead = AttemptHead, Result = SentResult<"train">> =
  | { readonly finished: Result }
  | { readonly attempt: Attempt };

/** How one process's part of an attempt ended. */
export interface RankResult {
  /** "outgrown": at a checkpoint, because more workers are there than the attempt has; only worker 0 says so */
  readonly status: "finished" | "stopped" | "outgrown";
  /** steps done and committed */
  readonly step: number;
  /** what a user is to be told of the attempt; absent: nothing, or an earlier version */
  readonly notes?: readonly string[];
}

/** One process's part of an attempt. */
export interface RankTask<Attempt extends AttemptHead = AttemptHead> {
  readonly attempt: Attempt;
  /** its number among the attempt's workers, 0-based */
  readonly worker: number;
}

/** A run as the lease knows it: these stay the same over resets and continue-as-new. */
export interface Holder {
  readonly workflowId: string;
  readonly firstRunId: string;
}

/** Activities of the pipeline worker: the stages' on their host's queue, the others on `roslin`. Results come without long lists: see `essentials`. */
export interface PipelineActivities {
  plan(config: RunConfig): Promise<Plan>;
  download(input: StageInput): Promise<SentResult<"download">>;
  preprocess(input: StageInput): Promise<SentResult<"preprocess">>;
  /** Takes the next generation for an attempt with so many workers, unless training is finished. `places`: only in a shared run, one for each rank. */
  beginTraining(input: StageInput & { readonly workers: number; readonly places?: readonly RankPlace[] }): Promise<TrainingBegun>;
  /** null: the last checkpoint is no longer whole, and another attempt has to repeat its steps */
  finishTraining(input: StageInput): Promise<SentResult<"train"> | null>;
  evaluate(input: StageInput): Promise<SentResult<"evaluate">>;
  publish(input: StageInput): Promise<SentResult<"publish">>;
  /** The name of the machine that answers: one that lives. */
  liveHost(): Promise<string>;
  /** Resolves when the run no longer trains: closed, unknown, paused, or reset to before. */
  awaitIdle(holder: Holder): Promise<void>;
  /** Ids of the run's own activities that were paused, by `temporal activity pause` or in the UI. */
  pausedActivities(): Promise<string[]>;
}

/** Activities on a GPU worker's own queue, one at a time. */
export interface GpuActivities<Attempt extends AttemptHead = AttemptHead> {
  /** One process's part of a training attempt. */
  trainRank(task: RankTask<Attempt>): Promise<RankResult>;
  /** Answered by a free worker. */
  ping(): Promise<void>;
}

/** A GPU worker as it introduces itself to the lease. */
export interface GpuWorker {
  readonly queue: string;
  readonly host: string;
  readonly slot: number;
  /** how many of its kind were started on its host */
  readonly of: number;
  /** changes with every process: a late word about a dead one does not concern the next */
  readonly started: number;
  /** the GPU that it computes on, memory in bytes; null: the CPU; an earlier version did not say */
  readonly device?: { readonly uuid: string; readonly name: string; readonly memory: number } | null;
  /** the IP address at which other machines reach it; an earlier version did not say */
  readonly address?: string;
}

/** A run's wish for all workers of a host, or of several. */
export interface LeaseRequest {
  readonly holder: Holder;
  /** names this wish: an answer to an older one is not taken for its answer */
  readonly token: string;
  readonly host: string;
  readonly min: number;
  /** as many as the run can use */
  readonly max: number;
  /** with so many it does not wait for more: those that were missing before are not waited for again */
  readonly enough: number;
  /** how long to wait for all workers of the host, or of so many hosts, before going on with `min` */
  readonly waitSeconds: number;
  /** workers of at most so many machines, and `host` only breaks ties; absent: workers of `host` alone */
  readonly hosts?: number;
}

/** The lease's word to a run: workers when it has them, else why it waits. */
export interface LeaseNews {
  readonly token: string;
  readonly workers: readonly GpuWorker[] | null;
  readonly note: string;
}

/** Who has the workers, and who waits for them. */
export interface LeaseState {
  readonly workers: readonly GpuWorker[];
  readonly holder: Holder | null;
  readonly waiting: readonly LeaseRequest[];
}

/** Signals and queries by name, for clients that do not load workflow code. */
export const SIGNALS = {
  register: "register",
  deregister: "deregister",
  acquire: "acquire",
  release: "release",
  leaseNews: "leaseNews",
  pause: "pause",
  resume: "resume",
} as const;
/** Updates by name. */
export const UPDATES = { overrideGate: "overrideGate" } as const;
/** Queries by name. */
export const QUERIES = { progress: "progress", lease: "lease" } as const;

/** Where a stage is in a run. */
export type StageState = "to do" | "running" | "paused" | "done" | "reused" | "failed" | "cancelled";

/** One line of the table of a run's progress. */
export interface StageRow {
  readonly stage: StageName;
  readonly state: StageState;
  /** since it started; null before */
  readonly seconds: number | null;
  readonly note: string;
  /** sentences of the note that a user should not miss; absent: there are none */
  readonly warnings?: readonly string[];
}

/** Answer to the query `progress`, and part of a finished run's result. */
export interface RunProgress {
  readonly rows: readonly StageRow[];
  /** that the whole run is paused or about to, or waits for a person, and what ends that; empty while it runs */
  readonly pause: string;
}

/** What a finished run returns. */
export interface FinetuneResult {
  readonly stages: readonly SentResult[];
  /** seconds by stage, as the workflow saw them: waiting and repeated attempts included */
  readonly rows: readonly StageRow[];
  readonly trainingAttempts: number;
  /** whether `latest.json` names the model; an earlier version did not say */
  readonly published?: boolean;
  /** why it does not; null if it does */
  readonly reason?: string | null;
}
