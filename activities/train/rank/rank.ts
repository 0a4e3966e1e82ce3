import { rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { errorNamed, FencedError, messageOf, PeerLostError, StoppedError, WorkerDiedError } from "../../../core/errors.js";
import { outputNamed } from "../../../core/stages/stage.js";
import type { Compute, ComputeEvent, Directive, RankInput, StepEnd, TrainingEngine } from "../../../engines/engine.js";
import { processStart } from "../../../infra/disk/lock.js";
import { joinGroup, type Group } from "../../../infra/process/group.js";
import type { RankResult, RankTask } from "../../../workflows/contract.js";
import type { StageContext } from "../../common/stage.js";
import type { TrainDeps } from "../deps.js";
import { openLog, type CommitLog } from "../log/commit-log.js";
import type { TrainAttempt } from "../log/entries.js";
import { fingerprintOf } from "../log/fingerprint.js";
import { WhereaboutsFile } from "../log/whereabouts.js";
import { CheckpointWriter } from "./checkpoint-writer.js";
import { Coordinator, resumedFrom } from "./coordinator.js";
import { Heartbeat } from "./heartbeat.js";
import type { ToAll, ToCoordinator } from "./messages.js";

/** One rank of an attempt, in its main thread: sockets, files, heartbeats. The engine's computing does what blocks. */

/** What a rank is handed. */
export type RankDeps = Pick<TrainDeps, "engines" | "openStore">;

/** One rank's work. */
export interface RankWork extends RankTask<TrainAttempt> {
  /** whether more workers are there now than the attempt has: then a checkpoint ends it; absent where none can come */
  readonly outgrown?: () => boolean;
}

/** How long ranks wait for each other at the start of an attempt. */
const JOIN_MS = 60_000;

/** Trains as one rank of an attempt, until the last step or until somebody's signal asks all to stop. What it returns is committed. */
export async function runRank(deps: RankDeps, work: RankWork, context: StageContext): Promise<RankResult> {
  const { attempt, worker } = work;
  const { directory, generation, config } = attempt;
  const log = await openLog(deps.openStore(directory), generation);
  // sent again by a run that was reset into this attempt
  if (log.overtaken) throw new FencedError("this attempt has been gone on from already", { log: directory, generation });
  const own = { worker, pid: process.pid, started: processStart(process.pid) };
  const whereabouts = new WhereaboutsFile(directory, generation, own);
  try {
    const result = await new Rank(deps.engines[config.train.engine], log, whereabouts, work, context).run();
    whereabouts.end("done", result.status);
    return result;
  } catch (error) {
    const told = error instanceof PeerLostError || error instanceof StoppedError;
    whereabouts.end(context.signal.aborted ? "asked" : told ? "told" : "failed", messageOf(error));
    throw error;
  } finally {
    whereabouts.close();
  }
}

/** What this rank's computing does. */
type Phase =
  /** it loads, or waits at a barrier for the others */
  | "waiting"
  | "computing"
  /** all its shards are written: it waits for the last commit */
  | "written";

class Rank {
  private readonly engine: TrainingEngine;
  private readonly log: CommitLog;
  private readonly whereabouts: WhereaboutsFile;
  private readonly attempt: TrainAttempt;
  private readonly worker: number;
  private readonly context: StageContext;
  private readonly writer: CheckpointWriter;
  /** only the first rank's */
  private readonly coordinator: Coordinator | null;
  private readonly heartbeat: Heartbeat;
  private readonly outcome = new Outcome<RankResult>();
  private group: Group | null = null;
  private compute: Compute | null = null;
  private phase: Phase = "waiting";
  /** the computing has said its last word, or was told to say none */
  private computeOver = false;
  private done: RankResult | null = null;
  /** steps done at the last commit that this rank has heard of */
  private committed = -1;
  /** the last step that has ended, and the barrier at its end */
  private lastStep: (StepEnd & { readonly barrier: number }) | null = null;

  constructor(engine: TrainingEngine, log: CommitLog, whereabouts: WhereaboutsFile, work: RankWork, context: StageContext) {
    const { attempt, worker, outgrown: moreAreThere = () => false } = work;
    this.engine = engine;
    this.log = log;
    this.whereabouts = whereabouts;
    this.attempt = attempt;
    this.worker = worker;
    this.context = context;
    this.writer = new CheckpointWriter(attempt);
    const toAll = (message: ToAll): void => this.group?.toAll(message);
    const fingerprint = fingerprintOf(engine);
    this.coordinator = worker === 0 ? new Coordinator({ attempt, log, engine, fingerprint, moreAreThere, toAll }) : null;
    this.heartbeat = this.makeHeartbeat();
  }

  /** Meets the others, computes with them, and ends when all is committed or nothing more can be. */
  async run(): Promise<RankResult> {
    const { context, coordinator, attempt, worker } = this;
    const stop = (): void => this.stop();
    try {
      const meeting = { path: attempt.socketPath, worker, workers: attempt.workers, timeoutMs: JOIN_MS, signal: context.signal };
      this.group = await joinGroup(meeting, {
        toCoordinator: (from, message) => this.hear(from, message as ToCoordinator),
        toAll: (message) => this.hearAll(message as ToAll),
        lost: (lost) => this.lose(lost, "is gone"),
      });
      context.signal.addEventListener("abort", stop);
      if (context.signal.aborted) stop();
      this.heartbeat.start();
      await coordinator?.prepare();
      return await this.outcome.promise;
    } finally {
      context.signal.removeEventListener("abort", stop);
      await this.close();
    }
  }

  /** A caller that hears of the end may count on this rank to write nothing more. */
  private async close(): Promise<void> {
    const { attempt, coordinator, group, engine } = this;
    this.heartbeat.stop();
    this.abortCompute();
    await this.compute?.ended;
    await this.writer.idle();
    await coordinator?.close();
    group?.close();
    if (coordinator !== null) engine.unlink(attempt.engine);
  }

  /** Somebody asks this rank to stop: all are to save and end. */
  private stop(): void {
    this.whereabouts.end("asked", messageOf(this.context.signal.reason));
    this.tell({ kind: "stop" });
  }

  private tell(message: ToCoordinator): void {
    this.group?.toCoordinator(message);
  }

  /** The first rank alone: what the ranks say to the coordinator. */
  private hear(from: number, message: ToCoordinator): void {
    this.heartbeat.heard(from);
    this.coordinator?.hear(from, message);
  }

  /** What the coordinator says to all. */
  private hearAll(message: ToAll): void {
    this.heartbeat.heard(0);
    switch (message.kind) {
      case "alive":
        return;
      case "ready":
        return this.startCompute();
      case "release":
        this.phase = "computing";
        if (message.barrier === 1) this.group?.seal();
        this.noteStep(message.barrier, message.directive);
        return this.compute?.release(message.barrier, message.directive);
      case "committed":
        this.committed = message.stepsDone;
        return this.settle();
      case "over":
        return this.end(errorNamed(message.name, message.message));
    }
  }

  private startCompute(): void {
    const { attempt, worker, engine, log } = this;
    const { directory, workers, config, inputs, resumeStep, totalSteps } = attempt;
    const path = (name: string): string => fileURLToPath(outputNamed(inputs, name).uri);
    const from = resumedFrom(attempt, log);
    const input: RankInput = {
      worker,
      workers,
      train: config.train,
      model: path("model"),
      tokens: path("tokens"),
      resumeStep,
      totalSteps,
      resume: from === null ? null : { updates: from.updates, files: from.shards.map(({ file }) => join(directory, file)) },
      whereabouts: this.whereabouts.file,
      setup: attempt.engine,
    };
    const compute = engine.start(input, (event) => this.hearCompute(event));
    this.compute = compute;
    void compute.ended.then((how) => this.hearComputeEnd(how));
  }

  private hearCompute(event: ComputeEvent): void {
    switch (event.kind) {
      case "arrive":
        this.phase = "waiting";
        if (event.end !== undefined) this.lastStep = { ...event.end, barrier: event.barrier };
        return this.tell(event);
      case "shard": {
        const { stepsDone, updates } = event;
        return this.writer.add(
          event,
          (file) => this.tell({ kind: "shard", stepsDone, updates, file }),
          (error) => this.fail(error),
        );
      }
      case "done":
        this.computeOver = true;
        this.done = { status: this.coordinator?.outgrown === true ? "outgrown" : event.status, step: event.stepsDone };
        void this.writer.idle().then(() => (this.phase = "written"));
        return this.settle();
      case "failed":
        this.computeOver = true;
        return this.fail(errorNamed(event.name, event.message));
    }
  }

  /** A thread or process that ends without a last word has died, and its step may be to blame as if the whole rank had. */
  private hearComputeEnd(how: string): void {
    if (this.computeOver) return;
    this.computeOver = true;
    const error = new WorkerDiedError(`worker ${this.worker} of ${this.attempt.workers} died: ${how}`);
    this.whereabouts.end("died", messageOf(error));
    this.fail(error);
  }

  private abortCompute(): void {
    this.computeOver = true;
    this.compute?.abort();
  }

  /** Before computing may go on: a death in a step is never put down to the one before. */
  private noteStep(barrier: number, directive: Directive): void {
    if (barrier === 1) this.whereabouts.at(this.attempt.resumeStep);
    else if (barrier === this.lastStep?.barrier)
      this.whereabouts.at(directive === "stop" || directive === "finish" ? null : this.lastStep.stepsDone);
  }

  /** This rank's own failure: the others hear of it. */
  private fail(error: Error): void {
    this.whereabouts.end("failed", messageOf(error));
    this.tell({ kind: "failed", name: error.name, message: messageOf(error) });
    this.end(error);
  }

  /** Another rank does not come any more. */
  private lose(worker: number, how: string): void {
    const error = new PeerLostError(`worker ${worker} of ${this.attempt.workers} ${how}`);
    this.coordinator?.end(error.name, error.message);
    this.end(error);
    if (worker !== 0) return;
    // what a killed coordinator made, whose names it did not get to remove
    this.engine.unlink(this.attempt.engine);
    rmSync(this.attempt.socketPath, { force: true });
  }

  /** The attempt is over for this rank, without what is not committed. */
  private end(error: Error): void {
    // at once: computing may be busy for a while yet
    this.whereabouts.end("told", messageOf(error));
    this.abortCompute();
    this.outcome.reject(error);
  }

  private settle(): void {
    if (this.done !== null && this.committed >= this.done.step) this.outcome.resolve(this.done);
  }

  private makeHeartbeat(): Heartbeat {
    const { coordinator, worker, attempt, context, writer } = this;
    const alive = { kind: "alive" } as const;
    return new Heartbeat({
      peers: coordinator === null ? [0] : Array.from({ length: attempt.workers }, (_, peer) => peer).filter((peer) => peer !== worker),
      moved: () => (this.compute?.moved() ?? 0) + writer.moved,
      waiting: () => this.phase !== "computing",
      impatient: () => context.signal.aborted,
      alive: () => (coordinator === null ? this.tell(alive) : this.group?.toAll(alive)),
      progress: (stalled) => this.sayProgress(stalled),
      silent: (peer, beats) => this.lose(peer, `has not been heard of for ${beats} s`),
    });
  }

  private sayProgress(stalled: boolean): void {
    const { attempt, lastStep, coordinator } = this;
    const missing = stalled ? (coordinator?.missing() ?? []) : [];
    const figures = lastStep && { loss: lastStep.record.loss, tokensPerSecond: lastStep.record.tokens / lastStep.record.seconds };
    this.context.progress({
      stage: "train",
      done: lastStep?.stepsDone ?? attempt.resumeStep,
      total: attempt.totalSteps,
      unit: "steps",
      ...figures,
      ...(stalled && { note: missing.length > 0 ? `waiting for worker ${missing.join(", ")}` : "waiting for the other workers" }),
    });
  }
}

/** A promise that is settled from outside, and that nobody has to wait for. */
class Outcome<T> {
  readonly promise: Promise<T>;
  resolve: (value: T) => void = () => undefined;
  reject: (error: Error) => void = () => undefined;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // an error may come before anybody waits
    this.promise.catch(() => undefined);
  }
}
