import type { RunConfig } from "../../../core/config/schema.js";
import type { Artifact } from "../../../core/stages/results.js";
import type { Proof } from "../../../core/stages/ledger.js";
import type { ComputedSteps } from "../../../core/stages/metrics.js";
import type { StepRecord } from "../../../engines/engine.js";
import type { AttemptHead } from "../../../workflows/contract.js";

/** One try at training from a checkpoint on: small JSON that travels to every rank. */
export interface TrainAttempt extends AttemptHead {
  /** the stage's directory */
  readonly directory: string;
  readonly config: RunConfig;
  /** inputs: "model" and "tokens" */
  readonly inputs: readonly Artifact[];
  /** number of the checkpoint's commit, null from the base model */
  readonly resumeFrom: number | null;
  /** what the engine's `begin` chose: only the engine reads it */
  readonly engine: unknown;
  /** where the ranks meet, named by run and generation */
  readonly socketPath: string;
  readonly setAside: readonly string[];
}

/** What a result's bits depend on besides inputs and settings: platform, cpu, node, engine, engineVersion, and what the engine names. */
export type Fingerprint = Readonly<Record<string, string | number>>;

/** A shard's file of a checkpoint. */
export interface ShardFile {
  readonly shard: number;
  /** relative to the stage's directory */
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** An attempt's part of the time, in seconds since 1970, and how it ended. */
export interface Span {
  readonly generation: number;
  readonly begun: number;
  /** when its first step began, or, where it came to none, when it did */
  readonly first: number;
  /** when the last step ended that was kept; `first` where none was */
  readonly last: number;
  /** steps done before it */
  readonly from: number;
  /** steps beyond the last one that was kept */
  readonly lost: number;
  /** false: all was saved before it ended */
  readonly failure: boolean;
  /** how it ended, in our own words */
  readonly what: string;
}

/** Where a checkpoint was made before this log took it over, and what the records there say of the steps up to it. */
export interface Past {
  /** name of the directory beside the stage's own */
  readonly directory: string;
  /** number of the checkpoint's commit in the log there */
  readonly commit: number;
  /** first to last, all steps */
  readonly computed: readonly ComputedSteps[];
  /** of all attempts there, and of those that they went on from */
  readonly spans: readonly Span[];
  readonly proof: Proof;
  /** the most steps that were done there, kept or not */
  readonly furthest: number;
}

interface EntryBase {
  /** makes the bytes of two writers differ, so that it can be told which of them won */
  readonly nonce: string;
  /** when it was written, ISO 8601: only the ledger reads it, nothing that is trained depends on it */
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
  /** 0: it was taken over */
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
  /** of a checkpoint that was taken over from another directory of the same job: no attempt of this log made it */
  readonly past?: Past;
}

/** A checkpoint that failed its digests. */
export interface SetAsideEntry extends EntryBase {
  readonly kind: "set-aside";
  readonly commit: number;
  readonly reason: string;
}

/** Stands for an entry whose bytes are gone or changed: its number stays taken, and what it said is lost. */
export interface LostEntry {
  readonly kind: "lost";
  readonly reason: string;
}

/** A worker that died while it was at a step: where it was. */
export interface Loss {
  readonly worker: number;
  /** index, 0-based */
  readonly step: number;
  /** those that it hosted */
  readonly shards: readonly number[];
  /** the one whose rows were computed on when it died; null when it was no single one's */
  readonly shard: number | null;
}

/** A step that took its worker with it again and again. */
export interface Poison {
  /** index, 0-based */
  readonly step: number;
  /** those that every one of the dead workers hosted */
  readonly shards: readonly number[];
  /** the one whose rows were computed on at every death; null when that was not so */
  readonly shard: number | null;
  readonly times: number;
}

/** How an attempt ended, as far as its workers left word; the next attempt writes it. */
export interface EndEntry extends EntryBase {
  readonly kind: "end";
  readonly generation: number;
  /** in our own words, fit for publishing */
  readonly what: string;
  /** the message of the error or request that ended it, when there was one */
  readonly message: string | null;
  /** deaths that may be a step's doing */
  readonly lost: readonly Loss[];
  /** set when the run was stopped because of it: earlier deaths don't count any more */
  readonly poison: Poison | null;
}

/** What the metrics command calls the run in its own records: the next attempt's command goes on there. */
export interface ExporterEntry extends EntryBase {
  readonly kind: "exporter";
  readonly runId: string;
}

/** Anything that the commit log holds. */
export type LogEntry = AttemptEntry | CheckpointEntry | SetAsideEntry | EndEntry | ExporterEntry | LostEntry;
