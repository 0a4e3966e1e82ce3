import { messageOf } from "../../../core/errors.js";
import { pruneShards } from "../log/checkpoint.js";
import type { Directive } from "../../../engines/onnx/control.js";
import type { CommitLog } from "../log/commit-log.js";
import type { ToAll, ToHub } from "./rank.js";
import type { StepsFile } from "../log/steps-file.js";
import type { CheckpointEntry, Fingerprint, ShardFile, StepRecord, TrainAttempt } from "../log/entries.js";

/** Worker 0's extra work: it counts arrivals, decides when to save and stop, and commits what all have written. */

interface Pending {
  readonly reason: CheckpointEntry["reason"];
  readonly steps: readonly StepRecord[];
  readonly files: ShardFile[];
}

const REASONS: Readonly<Record<Exclude<Directive, "go">, CheckpointEntry["reason"]>> = {
  checkpoint: "interval",
  stop: "stop",
  finish: "finish",
};

/** What worker 0 does for all. */
export class Hub {
  private readonly attempt: TrainAttempt;
  private readonly log: CommitLog;
  private readonly fingerprint: Fingerprint;
  private readonly stepsFile: StepsFile;
  private readonly moreAreThere: () => boolean;
  private readonly toAll: (message: ToAll) => void;
  /** ended at a checkpoint, for more workers are there than the attempt has */
  outgrown = false;
  private readonly pending = new Map<number, Pending>();
  private arrived = new Set<number>();
  private lastArrival: Extract<ToHub, { kind: "arrive" }> | null = null;
  private steps: StepRecord[] = [];
  private stopping = false;
  /** the workers fill their memory, and have computed nothing yet */
  private loading = false;
  private ended = false;
  private parent: number | null;
  private savedStep: number;
  private savedAt = performance.now();
  private committing: Promise<void> = Promise.resolve();
  /** what was read is what was meant; fails when it is not */
  private sound: Promise<void> = Promise.resolve();

  constructor(
    attempt: TrainAttempt,
    log: CommitLog,
    fingerprint: Fingerprint,
    stepsFile: StepsFile,
    moreAreThere: () => boolean,
    toAll: (message: ToAll) => void,
  ) {
    this.attempt = attempt;
    this.log = log;
    this.fingerprint = fingerprint;
    this.stepsFile = stepsFile;
    this.moreAreThere = moreAreThere;
    this.toAll = toAll;
    this.parent = attempt.resumeFrom;
    this.savedStep = attempt.resumeStep;
  }

  hear(from: number, message: Exclude<ToHub, { kind: "failed" }>): void {
    if (message.kind === "stop") {
      this.stopping = true;
      this.endUnlessBegun();
    } else if (message.kind === "shard") this.collect(message);
    else {
      this.arrived.add(from);
      if (from === 0) this.lastArrival = message;
      if (this.arrived.size === this.attempt.workers) this.release(message.index);
    }
  }

  /** There is memory for the workers to fill: they are told so, unless the attempt is over. */
  load(): void {
    this.loading = true;
    this.endUnlessBegun();
    if (!this.ended) this.toAll({ kind: "ready" });
  }

  /** Workers that have not arrived at the barrier where others wait. */
  missing(): number[] {
    return Array.from({ length: this.attempt.workers }, (_, worker) => worker).filter((worker) => !this.arrived.has(worker));
  }

  /** Commits nothing before `sound` has resolved, and ends the attempt when it fails. */
  after(sound: Promise<void>): void {
    this.sound = sound;
    sound.catch((error: unknown) => this.end((error as Error).name, messageOf(error)));
  }

  /** Resolves when what is being committed is. */
  settled(): Promise<void> {
    return this.committing;
  }

  /** Ends the attempt for all. */
  end(name: string, message: string): void {
    if (this.ended) return;
    this.ended = true;
    this.toAll({ kind: "over", name, message });
  }

  close(): void {
    this.stepsFile.close();
  }

  /** A stop finds nothing to save yet: a step and a checkpoint of a large model take minutes. */
  private endUnlessBegun(): void {
    if (this.stopping && this.loading) this.end("PeerLostError", "asked to stop before the first step; there is nothing to save");
  }

  private release(index: number): void {
    const { step, record } = this.lastArrival!;
    this.arrived = new Set();
    this.loading = false;
    const directive = step === undefined ? "go" : this.decide(step, record!);
    this.toAll({ kind: "release", index, directive });
  }

  private decide(step: number, record: StepRecord): Directive {
    this.stepsFile.add(step, record);
    this.steps.push(record);
    const directive = this.wanted(step);
    if (directive !== "go") {
      this.pending.set(step, { reason: REASONS[directive], steps: this.steps, files: [] });
      this.steps = [];
      this.savedStep = step;
      this.savedAt = performance.now();
    }
    return directive;
  }

  private wanted(step: number): Directive {
    const { checkpointEverySteps, checkpointEveryMinutes } = this.attempt.config.train;
    if (step === this.attempt.totalSteps) return "finish";
    if (this.stopping) return "stop";
    const due = step - this.savedStep >= checkpointEverySteps || performance.now() - this.savedAt >= checkpointEveryMinutes * 60_000;
    // a disk that is slower than training makes checkpoints rarer, not memory fuller
    if (!due || this.pending.size > 0) return "go";
    this.outgrown = this.moreAreThere();
    return this.outgrown ? "stop" : "checkpoint";
  }

  private collect({ step, updates, file }: Extract<ToHub, { kind: "shard" }>): void {
    const pending = this.pending.get(step)!;
    pending.files.push(file);
    if (pending.files.length < this.attempt.config.train.shards) return;
    this.committing = this.committing
      .then(() => this.commit(step, updates, pending))
      .catch((error: unknown) => this.end((error as Error).name, messageOf(error)));
  }

  private async commit(step: number, updates: number, { reason, steps, files }: Pending): Promise<void> {
    const { attempt, log, fingerprint, parent } = this;
    const shards = [...files].sort((a, b) => a.shard - b.shard);
    await this.sound;
    this.parent = await log.append({
      kind: "checkpoint",
      generation: attempt.generation,
      step,
      updates,
      reason,
      parent,
      fingerprint,
      shards,
      steps,
    });
    this.pending.delete(step);
    await pruneShards(log, attempt.directory, attempt.config.train.keepCheckpoints, attempt.generation);
    this.toAll({ kind: "committed", step });
  }
}
