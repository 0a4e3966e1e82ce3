import { join } from "node:path";
import { CorruptError, FencedError, messageOf, UserError } from "../../../core/errors.js";
import type { Directive, StepEnd, StepRecord, TrainingEngine } from "../../../engines/engine.js";
import { sha256File } from "../../../infra/disk/files.js";
import { checkInputs } from "../../common/stage.js";
import { trainDefinition } from "../definition.js";
import type { CommitLog } from "../log/commit-log.js";
import type { CheckpointEntry, Fingerprint, ShardFile, TrainAttempt } from "../log/entries.js";
import { StepsFile } from "../log/steps-file.js";
import type { TrainingPlace } from "../log/training-place.js";
import { StepMetrics } from "./step-metrics.js";
import type { ToAll, ToCoordinator } from "./messages.js";

/** The first rank's extra work: it counts arrivals, decides when to save and stop, and commits what all have written. */

/** A checkpoint of which not all shards are written yet. */
interface Pending {
  readonly reason: CheckpointEntry["reason"];
  readonly steps: readonly StepRecord[];
  readonly files: ShardFile[];
}

/** What is to follow a step: a directive, or a stop because more workers are there than the attempt has. */
type Decision = Directive | "outgrown";

const REASONS: Readonly<Record<Exclude<Directive, "go">, CheckpointEntry["reason"]>> = {
  checkpoint: "interval",
  stop: "stop",
  finish: "finish",
};

/** What may differ between the machines of an attempt: kinds of processors, and of GPUs. */
const OF_MACHINES = ["cpu", "device"];

/** What the coordinator is made of. */
export interface CoordinatorOptions {
  readonly attempt: TrainAttempt;
  readonly log: CommitLog;
  readonly place: TrainingPlace;
  readonly engine: TrainingEngine;
  readonly fingerprint: Fingerprint;
  /** whether more workers are there than the attempt has */
  readonly moreAreThere: () => boolean;
  readonly toAll: (message: ToAll) => void;
  /** the user's program for metrics; null: none */
  readonly metricsCommand: string | null;
  /** tells the user */
  readonly say: (note: string) => void;
}

/** What the first rank does for all. */
export class Coordinator {
  /** the attempt was stopped because more workers are there than it has */
  outgrown = false;
  private readonly options: CoordinatorOptions;
  private readonly closed = new AbortController();
  private readonly pending = new Map<number, Pending>();
  private arrived = new Set<number>();
  private readonly fetched = new Map<number, Fingerprint>();
  private fingerprint: Fingerprint;
  private stepsFile: StepsFile | null = null;
  private readonly metrics: StepMetrics;
  /** what this rank said of the step that it has just ended; null at other barriers */
  private stepEnd: StepEnd | null = null;
  private steps: StepRecord[] = [];
  private stopping = false;
  /** the ranks fetch and load what they begin with, and have computed nothing yet */
  private loading = true;
  /** index of the step that the ranks work on; null: they load, compute test rows, or save at the end */
  step: number | null = null;
  private preparing: Promise<void> = Promise.resolve();
  private ended = false;
  /** the last step is committed */
  private finished = false;
  /** what the metrics command calls the run, as long as the log does not have it; null: nothing to add */
  private exporterRun: string | null = null;
  private parent: number | null;
  /** steps done at the last checkpoint, and when it was decided */
  private savedSteps: number;
  private savedAt = performance.now();
  private committing: Promise<void> = Promise.resolve();
  /** resolves when the bytes that the ranks began with are those that were meant; fails when they are not */
  private sound: Promise<void> = Promise.resolve();

  constructor(options: CoordinatorOptions) {
    const { attempt, fingerprint } = options;
    this.options = options;
    this.fingerprint = fingerprint;
    this.parent = attempt.resumeFrom;
    this.savedSteps = attempt.resumeStep;
    const { log, place, metricsCommand: command, say } = options;
    this.metrics = new StepMetrics({ attempt, log, place, command, say, named: (runId) => this.noteExporter(runId) });
  }

  /** Makes what the ranks share, and lets them load, unless the attempt is over by then. */
  private async prepare(): Promise<void> {
    const { engine, attempt, toAll } = this.options;
    if (this.ended) return;
    this.metrics.begin();
    try {
      await engine.prepare(attempt.engine);
      if (!this.ended) toAll({ kind: "ready" });
    } catch (error) {
      this.fail(error);
    }
  }

  hear(from: number, message: ToCoordinator): void {
    switch (message.kind) {
      case "alive":
        return;
      case "tell":
        return this.options.toAll(message);
      case "fetched":
        return this.collectFetched(from, message.fingerprint);
      case "arrive":
        this.arrived.add(from);
        if (from === 0) this.stepEnd = message.end ?? null;
        if (this.arrived.size === this.options.attempt.workers) this.release(message);
        return;
      case "shard":
        return this.collect(message);
      case "stop":
        this.stopping = true;
        return this.endUnlessBegun();
      case "failed":
        return this.end(message.name, message.message);
    }
  }

  /** All ranks have what they begin with: computing may start, if all would compute the same. */
  private collectFetched(from: number, fingerprint: Fingerprint): void {
    const { attempt } = this.options;
    this.fetched.set(from, fingerprint);
    if (this.fetched.size < attempt.workers) return;
    for (const [worker, theirs] of [...this.fetched].sort(([a], [b]) => a - b)) {
      const own = this.options.fingerprint;
      const other = Object.keys({ ...theirs, ...own }).find((name) => !OF_MACHINES.includes(name) && theirs[name] !== own[name]);
      if (other !== undefined)
        return this.fail(
          new UserError("the machines of this run have different versions: set them up alike", {
            what: other,
            worker,
            host: attempt.places?.[worker]?.host,
            expected: own[other],
            got: theirs[other],
          }),
        );
    }
    // bytes are promised on machines of the same kind alone, so several kinds are one of their own
    for (const name of OF_MACHINES) {
      const kinds = new Set([...this.fetched.values()].map((each) => each[name] ?? "none"));
      if (kinds.size > 1) this.fingerprint = { ...this.fingerprint, [name]: [...kinds].sort().join(" ") };
    }
    this.stepsFile = new StepsFile(attempt.directory, attempt.generation, this.fingerprint);
    this.preparing = this.prepare();
  }

  /** Ranks that have not arrived at the barrier where others wait. */
  missing(): number[] {
    return Array.from({ length: this.options.attempt.workers }, (_, worker) => worker).filter((worker) => !this.arrived.has(worker));
  }

  /** Ends the attempt for all. */
  end(name: string, message: string): void {
    if (this.ended) return;
    this.ended = true;
    this.options.toAll({ kind: "over", name, message });
  }

  /** Resolves when nothing is being committed any more; nothing is checked any longer. */
  async close(): Promise<void> {
    this.closed.abort();
    await this.preparing;
    await this.committing;
    this.stepsFile?.close();
    await this.metrics.close(this.finished);
  }

  private fail(error: unknown): void {
    this.end((error as Error).name, messageOf(error));
  }

  /** A stop finds nothing to save yet: a step and a checkpoint of a large model take minutes. */
  private endUnlessBegun(): void {
    if (this.stopping && this.loading) this.end("StoppedError", "asked to stop before the first step; there is nothing to save");
  }

  private release({ barrier, evaluates }: Extract<ToCoordinator, { kind: "arrive" }>): void {
    const { engine, attempt, toAll } = this.options;
    const end = this.stepEnd;
    this.arrived = new Set();
    this.loading = false;
    if (barrier === 1) {
      this.step = attempt.resumeStep;
      // all ranks have it open: from now on nobody finds it by name
      engine.unlink(attempt.engine);
      this.sound = this.checkSources();
      this.sound.catch((error: unknown) => this.fail(error));
    }
    if (evaluates) this.step = null;
    toAll({ kind: "release", barrier, directive: end === null ? "go" : this.direct(end) });
  }

  /**
   * Bytes may have changed between the check at the attempt's begin and the reading, so they are digested again behind it,
   * beside training, and nothing is committed before that is done. Throws ChangedInputError or CorruptError.
   */
  private async checkSources(): Promise<void> {
    const { attempt, log } = this.options;
    await checkInputs(trainDefinition, attempt.inputs, this.closed.signal);
    for (const { file, sha256: expected } of resumedFrom(attempt, log)?.shards ?? []) {
      const got = await sha256File(join(attempt.directory, file), this.closed.signal);
      if (got !== expected) throw new CorruptError("a checkpoint changed while it was read", { file, expected, got });
    }
  }

  /** Records a step, and says what all do now. */
  private direct(end: StepEnd): Directive {
    const time = Date.now();
    this.stepsFile?.add(end, time);
    this.metrics.add(end, time);
    this.steps.push(end.record);
    const decision = this.decide(end.stepsDone);
    this.outgrown = decision === "outgrown";
    const directive = decision === "outgrown" ? "stop" : decision;
    this.step = directive === "stop" || directive === "finish" ? null : end.stepsDone;
    if (directive === "go") return directive;
    this.pending.set(end.stepsDone, { reason: REASONS[directive], steps: this.steps, files: [] });
    this.steps = [];
    this.savedSteps = end.stepsDone;
    this.savedAt = performance.now();
    return directive;
  }

  private decide(stepsDone: number): Decision {
    const { attempt, moreAreThere } = this.options;
    const { checkpointEverySteps, checkpointEveryMinutes } = attempt.config.train;
    if (stepsDone === attempt.totalSteps) return "finish";
    if (this.stopping) return "stop";
    const due = stepsDone - this.savedSteps >= checkpointEverySteps || performance.now() - this.savedAt >= checkpointEveryMinutes * 60_000;
    // a disk that is slower than training makes checkpoints rarer, not memory fuller
    if (!due || this.pending.size > 0) return "go";
    return moreAreThere() ? "outgrown" : "checkpoint";
  }

  private collect({ stepsDone, updates, file }: Extract<ToCoordinator, { kind: "shard" }>): void {
    const pending = this.pending.get(stepsDone)!;
    pending.files.push(file);
    if (pending.files.length < this.options.attempt.config.train.shards) return;
    this.committing = this.committing.then(() => this.commit(stepsDone, updates, pending)).catch((error: unknown) => this.fail(error));
  }

  /** The next attempt's metrics command is to go on in the same run. */
  private noteExporter(runId: string): void {
    if (this.closed.signal.aborted) return;
    this.exporterRun = runId;
    this.committing = this.committing.then(() => this.keepExporterRun()).catch((error: unknown) => this.fail(error));
  }

  /** Only a lost number ends the attempt: a name that a store does not take now is offered again before the next checkpoint. */
  private async keepExporterRun(): Promise<void> {
    const { log, say } = this.options;
    const runId = this.exporterRun;
    if (runId === null) return;
    try {
      await log.append({ kind: "exporter", runId });
      this.exporterRun = null;
    } catch (error) {
      if (error instanceof FencedError) throw error;
      say(
        `the name of the metrics command's run is not in the commit log yet: ${messageOf(error)}. It is tried again at the next checkpoint`,
      );
    }
  }

  private async commit(stepsDone: number, updates: number, { reason, steps, files }: Pending): Promise<void> {
    const { attempt, log, place, toAll } = this.options;
    const { generation, config } = attempt;
    const { fingerprint } = this;
    const shards = [...files].sort((a, b) => a.shard - b.shard);
    const { parent } = this;
    await this.sound;
    await this.keepExporterRun();
    this.parent = await log.append({
      kind: "checkpoint",
      generation,
      step: stepsDone,
      updates,
      reason,
      parent,
      fingerprint,
      shards,
      steps,
    });
    this.finished = reason === "finish";
    this.pending.delete(stepsDone);
    await place.prune(log, config.train.keepCheckpoints, generation);
    await place.keepSteps(generation);
    toAll({ kind: "committed", stepsDone });
  }
}

/** The checkpoint that an attempt goes on from; null: the base model. */
export function resumedFrom(attempt: TrainAttempt, log: CommitLog): CheckpointEntry | null {
  const entry = attempt.resumeFrom === null ? null : log.entries[attempt.resumeFrom - 1];
  return entry?.kind === "checkpoint" ? entry : null;
}
