import { rmSync } from "node:fs";
import { errorNamed, FencedError, messageOf, PeerLostError, StoppedError, UserError } from "../../../core/errors.js";
import type { TrainingEngine } from "../../../engines/engine.js";
import { processStart } from "../../../infra/process/process-start.js";
import { joinGroup, type Group } from "../../../infra/process/group.js";
import type { RankResult, RankTask } from "../../../workflows/contract.js";
import type { StageContext } from "../../common/stage.js";
import type { TrainDeps } from "../deps.js";
import type { CommitLog } from "../log/commit-log.js";
import type { Fingerprint, ShardFile, TrainAttempt } from "../log/entries.js";
import { fingerprintOf } from "../log/fingerprint.js";
import { WhereaboutsFile } from "../log/whereabouts.js";
import { pruneShards } from "../log/checkpoint.js";
import { CheckpointWriter } from "./checkpoint-writer.js";
import { Computing, type EventOf } from "./computing.js";
import { Coordinator, resumedFrom } from "./coordinator.js";
import { Heartbeat } from "./heartbeat.js";
import { LastingNotes } from "./lasting-notes.js";
import type { ToAll, ToCoordinator } from "./messages.js";
import { RankPlacement } from "./rank-place.js";

/** One rank of an attempt, in its main thread: sockets, files, heartbeats. The engine's computing does what blocks. */

/** What a rank is handed. */
export type RankDeps = Pick<TrainDeps, "engines" | "openStore" | "openShared" | "metricsCommand">;

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
  // the version that began it had no engines; this one's next attempt begins anew
  if (attempt.engine === undefined) throw new StoppedError("this attempt was begun by an earlier version of Roslin, and ends here");
  const ending = new AbortController();
  const say = (note: string): void =>
    context.progress({ stage: "train", done: attempt.resumeStep, total: attempt.totalSteps, unit: "steps", note });
  const placement = new RankPlacement(deps, attempt, worker, { signal: ending.signal, say });
  const log = await placement.place.log(generation);
  // sent again by a run that was reset into this attempt
  if (log.overtaken) throw new FencedError("this attempt has been gone on from already", { log: directory, generation });
  const own = { worker, pid: process.pid, started: processStart(process.pid) };
  const whereabouts = new WhereaboutsFile(directory, generation, own);
  try {
    const engine = deps.engines[config.train.engine];
    const fingerprint = await fingerprintOf(engine, attempt.workers, config.train);
    const result = await new Rank(engine, fingerprint, log, whereabouts, placement, work, context, deps.metricsCommand ?? null).run();
    whereabouts.end("done", result.status);
    return result;
  } catch (error) {
    const told = error instanceof PeerLostError || error instanceof StoppedError;
    whereabouts.end(context.signal.aborted ? "asked" : told ? "told" : "failed", messageOf(error));
    // a newer attempt removes what this one was writing, and then any error follows
    const { entries } = await placement.place.log().catch(() => log);
    const newest = entries.findLastIndex((entry) => entry.kind === "attempt") + 1;
    if (newest <= generation || error instanceof FencedError) throw error;
    throw new FencedError("a newer attempt of this run has taken over; this one stops", { log: directory, generation }, { cause: error });
  } finally {
    ending.abort();
    whereabouts.close();
  }
}

class Rank {
  private readonly engine: TrainingEngine;
  private readonly log: CommitLog;
  private readonly whereabouts: WhereaboutsFile;
  private readonly placement: RankPlacement;
  private readonly fingerprint: Fingerprint;
  private readonly attempt: TrainAttempt;
  private readonly worker: number;
  private readonly context: StageContext;
  private readonly writer: CheckpointWriter;
  private readonly computing: Computing;
  /** only the first rank's */
  private readonly coordinator: Coordinator | null;
  private readonly heartbeat: Heartbeat;
  private readonly outcome = new Outcome<RankResult>();
  private group: Group | null = null;
  private pruning: Promise<void> = Promise.resolve();
  /** the first cause counts: losses after it follow from it */
  private over = false;
  /** only the first rank's */
  private readonly notes = new LastingNotes();
  /** the attempt as this machine has it */
  private local: TrainAttempt;
  /** how computing has ended, and whether its last shards are written: this rank waits for the last commit then */
  private done: RankResult | null = null;
  private written = false;
  /** steps done at the last commit that this rank has heard of */
  private committed = -1;

  constructor(
    engine: TrainingEngine,
    fingerprint: Fingerprint,
    log: CommitLog,
    whereabouts: WhereaboutsFile,
    placement: RankPlacement,
    work: RankWork,
    context: StageContext,
    metricsCommand: string | null,
  ) {
    const { attempt, worker, outgrown: moreAreThere = () => false } = work;
    this.engine = engine;
    this.log = log;
    this.whereabouts = whereabouts;
    this.placement = placement;
    this.fingerprint = fingerprint;
    this.attempt = attempt;
    this.worker = worker;
    this.context = context;
    this.writer = new CheckpointWriter(attempt, (file) => placement.place.keep(file));
    this.computing = new Computing(engine, attempt, worker, whereabouts, {
      arrive: (event) => this.tell(event),
      shard: (event) => this.save(event),
      tell: (event) => this.tell(event),
      done: (event) => this.finish(event),
      failed: (error) => this.fail(error),
    });
    const toAll = (message: ToAll): void => this.group?.toAll(message);
    const common = { attempt, log, place: placement.place, engine, fingerprint, moreAreThere, toAll, metricsCommand };
    this.coordinator = worker === 0 ? new Coordinator({ ...common, say: (note) => this.sayLasting(note) }) : null;
    this.heartbeat = this.makeHeartbeat();
    this.local = attempt;
  }

  /** Meets the others, computes with them, and ends when all is committed or nothing more can be. */
  async run(): Promise<RankResult> {
    const { context, placement, attempt, worker } = this;
    const stop = (): void => this.stop();
    try {
      const meeting = {
        place: placement.meeting(),
        worker,
        workers: attempt.workers,
        timeoutMs: JOIN_MS,
        signal: context.signal,
      };
      this.group = await joinGroup(meeting, {
        toCoordinator: (from, message) => this.hear(from, message as ToCoordinator),
        toAll: (message) => this.hearAll(message as ToAll),
        lost: (lost) => this.lose(lost, "is gone"),
      }).catch((error: unknown) => {
        // machines that have trained together reached each other: the way may open again
        throw error instanceof UserError && attempt.resumeStep > 0 ? new PeerLostError(error.message) : error;
      });
      context.signal.addEventListener("abort", stop);
      if (context.signal.aborted) stop();
      this.heartbeat.start();
      await this.fetch();
      const result = await this.outcome.promise;
      const notes = this.notes.all();
      return { ...result, ...(notes.length > 0 && { notes }) };
    } finally {
      context.signal.removeEventListener("abort", stop);
      await this.close();
    }
  }

  /** Brings here what this rank begins with, and says so: minutes may lie between the first rank's word and the last one's. */
  private async fetch(): Promise<void> {
    const resumed = resumedFrom(this.attempt, this.log);
    // a loss meanwhile ends the attempt without it
    const local = await Promise.race([this.placement.bring(resumed), this.outcome.promise]);
    if (!("directory" in local)) return;
    this.local = local;
    this.tell({ kind: "fetched", fingerprint: this.fingerprint });
  }

  /** A caller that hears of the end may count on this rank to write nothing more. */
  private async close(): Promise<void> {
    const { attempt, coordinator, group, engine, computing } = this;
    this.heartbeat.stop();
    computing.abort();
    await computing.ended();
    await this.writer.idle();
    await this.pruning;
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
        return this.computing.start(this.local, this.placement.address, resumedFrom(this.attempt, this.log));
      case "tell":
        return this.computing.tell(message.word);
      case "release":
        if (message.barrier === 1) this.group?.seal();
        return this.computing.release(message.barrier, message.directive);
      case "committed":
        this.committed = message.stepsDone;
        this.pruning = this.pruneCopies().catch((error: unknown) => this.fail(error as Error));
        return this.settle();
      case "over":
        return this.end(errorNamed(message.name, message.message));
    }
  }

  /** On a machine where no coordinator does it, removes what the store alone may keep. */
  private async pruneCopies(): Promise<void> {
    const { placement, worker, attempt } = this;
    if (!placement.isAway(worker) || !placement.leadsMachine) return;
    const { directory, config, generation } = attempt;
    await pruneShards(await placement.place.log(), directory, config.train.keepCheckpoints, generation);
  }

  /** Writes a shard's part of a checkpoint, and tells the coordinator. */
  private save(copy: EventOf<"shard">): void {
    const { stepsDone, updates } = copy;
    const written = (file: ShardFile): void => this.tell({ kind: "shard", stepsDone, updates, file });
    this.writer.add(copy, written, (error) => this.fail(error));
  }

  /** Computing has come to its end. */
  private finish({ stepsDone, status }: EventOf<"done">): void {
    this.done = { status: this.coordinator?.outgrown === true ? "outgrown" : status, step: stepsDone };
    void this.writer.idle().then(() => (this.written = true));
    this.settle();
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
    if (!this.over && this.coordinator !== null && this.placement.isAway(worker)) this.noteLoss(worker);
    this.coordinator?.end(error.name, error.message);
    this.end(error);
    if (worker !== 0) return;
    // what a killed coordinator made, whose names it did not get to remove
    this.engine.unlink(this.attempt.engine);
    rmSync(this.attempt.socketPath, { force: true });
  }

  /** Leaves word of a rank whose own lies on another machine. */
  private noteLoss(worker: number): void {
    const { directory, generation } = this.attempt;
    const file = new WhereaboutsFile(directory, generation, { worker, pid: 0, started: null });
    file.at(this.coordinator!.step);
    file.close();
  }

  /** The attempt is over for this rank, without what is not committed. */
  private end(error: Error): void {
    this.over = true;
    // at once: computing may be busy for a while yet
    this.whereabouts.end("told", messageOf(error));
    this.computing.abort();
    this.outcome.reject(error);
  }

  private settle(): void {
    if (this.done !== null && this.committed >= this.done.step) this.outcome.resolve(this.done);
  }

  private makeHeartbeat(): Heartbeat {
    const { coordinator, worker, attempt, context, writer, computing } = this;
    const alive = { kind: "alive" } as const;
    return new Heartbeat({
      peers: coordinator === null ? [0] : Array.from({ length: attempt.workers }, (_, peer) => peer).filter((peer) => peer !== worker),
      moved: () => computing.moved() + writer.moved,
      waiting: () => !computing.busy || this.written,
      impatient: () => context.signal.aborted,
      alive: () => (coordinator === null ? this.tell(alive) : this.group?.toAll(alive)),
      progress: (stalled) => this.beat(stalled),
      silent: (peer, beats) => this.lose(peer, `has not been heard of for ${beats} s`),
    });
  }

  private beat(stalled: boolean): void {
    const missing = stalled ? (this.coordinator?.missing() ?? []) : [];
    const waiting = missing.length > 0 ? `waiting for worker ${missing.join(", ")}` : "waiting for the other workers";
    this.sayProgress(stalled ? waiting : null);
  }

  /** Says it now and, where the attempt comes to its end, with the result. */
  private sayLasting(note: string): void {
    this.notes.add(note);
    this.sayProgress(note, true);
  }

  private sayProgress(note: string | null, lasting?: true): void {
    const { attempt } = this;
    const { lastStep, evalLoss } = this.computing;
    const { loss = null, tokens = 0, seconds = 1 } = lastStep?.record ?? {};
    const figures = lastStep && {
      ...(loss !== null && { loss }),
      tokensPerSecond: tokens / seconds,
      ...(evalLoss !== null && { evalLoss }),
    };
    this.context.progress({
      stage: "train",
      done: lastStep?.stepsDone ?? attempt.resumeStep,
      total: attempt.totalSteps,
      unit: "steps",
      ...figures,
      ...(note !== null && { note }),
      ...(lasting && { lasting }),
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
