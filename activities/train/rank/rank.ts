import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Worker } from "node:worker_threads";
import { CorruptError, errorNamed, FencedError, messageOf } from "../../../core/errors.js";
import { outputNamed } from "../../../core/stages/stage.js";
import { sharedLayout } from "../../../engines/onnx/layout.js";
import type { Group, GroupEvents, GroupOptions } from "../../../infra/process/group.js";
import type { TensorSpec } from "../../../infra/weights/safetensors-writer.js";
import type { Model } from "../../../core/model/family.js";
import type { ObjectStore } from "../../../infra/store/store.js";
import { checkInputs, type StageContext } from "../../common/stage.js";
import { shardFile } from "../log/checkpoint.js";
import { Control, type Directive } from "../../../engines/onnx/control.js";
import type { ComputeInput, ComputeMessage } from "../../../engines/onnx/compute.js";
import { Hub } from "./coordinator.js";
import { openLog, type CommitLog } from "../log/commit-log.js";
import { StepsFile } from "../log/steps-file.js";
import type { CheckpointEntry, Fingerprint, RankOutcome, ShardFile, StepRecord, TrainAttempt } from "../log/entries.js";
import { WhereaboutsFile } from "../log/whereabouts.js";
import { trainDefinition } from "../definition.js";

/** One worker of an attempt, its main thread: sockets, files, heartbeats. The compute thread does what blocks. */

/** What a worker is handed. */
export interface RankDeps {
  readonly sha256File: (path: string, signal?: AbortSignal) => Promise<string>;
  readonly joinGroup: (options: GroupOptions, events: GroupEvents) => Promise<Group>;
  readonly createShared: (path: string, bytes: number) => Promise<void>;
  readonly removeFile: (path: string) => void;
  readonly startCompute: (input: ComputeInput) => Worker;
  readonly openStore: (directory: string) => ObjectStore;
  readonly writeSafetensors: (
    path: string,
    tensors: readonly TensorSpec[],
    bytesOf: (name: string) => Iterable<Uint8Array>,
  ) => Promise<{ sha256: string; bytes: number }>;
  readonly modelConfig: (directory: string) => Model;
  readonly fingerprint: () => Fingerprint;
  /** infra's: when a process started */
  readonly processStart: (pid: number) => string | null;
}

/** From a worker to the hub. */
export type ToHub =
  | { readonly kind: "arrive"; readonly index: number; readonly step?: number; readonly record?: StepRecord }
  | { readonly kind: "shard"; readonly step: number; readonly updates: number; readonly file: ShardFile }
  | { readonly kind: "stop" }
  | { readonly kind: "failed"; readonly name: string; readonly message: string };

/** From a worker to the hub, and from the hub to all, every second: its process lives, whatever its graph or its disk does. */
interface Alive {
  readonly kind: "alive";
}

/** From the hub to all. */
export type ToAll =
  | { readonly kind: "ready" }
  | { readonly kind: "release"; readonly index: number; readonly directive: Directive }
  | { readonly kind: "committed"; readonly step: number }
  | { readonly kind: "over"; readonly name: string; readonly message: string };

/** How long workers wait for each other at the start of an attempt. */
const JOIN_MS = 60_000;
const HEARTBEAT_MS = 1000;
/**
 * Beats after which a worker of which nothing was heard is given up, once all were asked to stop: its process is frozen, for
 * one that lives says so every second, however long a graph or the saving of a checkpoint takes.
 */
const SILENT_BEATS = 60;

/** One worker's work. */
export interface RankWork {
  readonly attempt: TrainAttempt;
  readonly worker: number;
  /** whether more workers are there now than the attempt has: then a checkpoint ends it; absent where none can come */
  readonly outgrown?: () => boolean;
}

/** Trains as worker `worker` of an attempt, until the last step or until somebody's signal asks all to stop. What it returns is committed. */
export async function runRank(deps: RankDeps, work: RankWork, context: StageContext): Promise<RankOutcome> {
  const rank = new Rank(deps, work, context);
  return rank.run();
}

class Rank {
  private readonly deps: RankDeps;
  private readonly attempt: TrainAttempt;
  private readonly worker: number;
  private readonly outgrown: () => boolean;
  private readonly context: StageContext;
  private readonly control = new Control();
  private group!: Group;
  private log!: CommitLog;
  private threadEnded: Promise<unknown> = Promise.resolve();
  private hub: Hub | null = null;
  private readonly attemptOver = new AbortController();
  private writing: Promise<void> = Promise.resolve();
  /** tensors written into checkpoints: at the end of a run nothing else moves */
  private written = 0;
  private committed = -1;
  private done: RankOutcome | null = null;
  /** at a barrier, for the memory to be made, or for the last commit */
  private waiting = true;
  /** beats of this worker since each of those that it hears was heard; a clock would count the time for which it was frozen itself */
  private readonly silent = new Map<number, number>();
  private lastStep: { step: number; record: StepRecord; barrier: number } | null = null;
  private whereabouts: WhereaboutsFile | null = null;
  private finish!: (outcome: RankOutcome) => void;
  private fail!: (error: Error) => void;

  constructor(deps: RankDeps, { attempt, worker, outgrown = () => false }: RankWork, context: StageContext) {
    this.deps = deps;
    this.attempt = attempt;
    this.worker = worker;
    this.outgrown = outgrown;
    this.context = context;
  }

  async run(): Promise<RankOutcome> {
    const { attempt, worker, deps } = this;
    const outcome = new Promise<RankOutcome>((resolve, reject) => {
      this.finish = resolve;
      this.fail = reject;
    });
    // an error may come before anybody waits for the outcome
    outcome.catch(() => undefined);
    const stop = (): void => {
      this.whereabouts?.end("asked", messageOf(this.context.signal.reason));
      this.group.toHub({ kind: "stop" } satisfies ToHub);
    };
    let heartbeat: NodeJS.Timeout | null = null;
    try {
      this.log = await openLog(deps.openStore(attempt.directory), attempt.generation);
      // sent again by a run that was reset into this attempt
      if (this.log.overtaken)
        throw new FencedError("this attempt has been gone on from already", { log: attempt.directory, generation: attempt.generation });
      this.whereabouts = new WhereaboutsFile(attempt.directory, attempt.generation, {
        worker,
        pid: process.pid,
        started: deps.processStart(process.pid),
      });
      if (worker === 0) {
        const fingerprint = deps.fingerprint();
        const steps = new StepsFile(attempt.directory, attempt.generation, fingerprint);
        this.hub = new Hub(attempt, this.log, fingerprint, steps, this.outgrown, (message) => this.group.toAll(message));
      }
      const options: GroupOptions = {
        path: attempt.socketPath,
        worker,
        workers: attempt.workers,
        timeoutMs: JOIN_MS,
        signal: this.context.signal,
      };
      this.group = await deps.joinGroup(options, {
        message: (from, message) => this.hear(from, message as ToHub | ToAll | Alive),
        lost: (lost) => this.lost(lost, "is gone"),
      });
      this.context.signal.addEventListener("abort", stop);
      if (this.context.signal.aborted) stop();
      heartbeat = this.startHeartbeat();
      if (this.hub !== null) await this.prepareMemory(this.hub);
      const done = await outcome;
      this.whereabouts.end("done", done.status);
      return done;
    } catch (error) {
      const how = this.context.signal.aborted ? "asked" : (error as Error).name === "PeerLostError" ? "told" : "failed";
      this.whereabouts?.end(how, messageOf(error));
      throw error;
    } finally {
      if (heartbeat !== null) clearInterval(heartbeat);
      this.context.signal.removeEventListener("abort", stop);
      this.control.abort();
      await this.threadEnded;
      // whoever hears that this worker has ended may count on it to write nothing more
      await this.writing;
      this.attemptOver.abort();
      await this.hub?.settled();
      this.group?.close();
      this.hub?.close();
      this.whereabouts?.close();
      if (worker === 0) deps.removeFile(attempt.sharedPath);
    }
  }

  /** The hub alone: makes the memory that all will map. */
  private async prepareMemory(hub: Hub): Promise<void> {
    const { attempt, deps } = this;
    try {
      const model = deps.modelConfig(fileURLToPath(outputNamed(attempt.inputs, "model").uri));
      const { segments } = sharedLayout(model, attempt.config.train.shards, attempt.capacity);
      await deps.createShared(
        attempt.sharedPath,
        segments.reduce((sum, bytes) => sum + bytes, 0),
      );
      hub.load();
    } catch (error) {
      hub.end((error as Error).name, messageOf(error));
    }
  }

  /**
   * Bytes may have changed between the check at the attempt's begin and the reading, so they are digested again behind it,
   * beside training. Throws ChangedInputError or CorruptError.
   */
  private async checkSources(): Promise<void> {
    const { attempt, deps, attemptOver } = this;
    await checkInputs(trainDefinition, attempt.inputs, attemptOver.signal);
    for (const { file, sha256: expected } of this.resumedFrom()?.shards ?? []) {
      const got = await deps.sha256File(join(attempt.directory, file), attemptOver.signal);
      if (got !== expected) throw new CorruptError("a checkpoint changed while it was read", { file, expected, got });
    }
  }

  private resumedFrom(): CheckpointEntry | null {
    const entry = this.attempt.resumeFrom === null ? null : this.log.entries[this.attempt.resumeFrom - 1];
    return entry?.kind === "checkpoint" ? entry : null;
  }

  private startThread(): void {
    const { attempt, worker, deps } = this;
    const from = this.resumedFrom();
    const resume = from === null ? null : { updates: from.updates, files: from.shards.map((shard) => shard.file) };
    const thread = deps.startCompute({ attempt, worker, control: this.control.words.buffer, whereabouts: this.whereabouts!.file, resume });
    thread.on("message", (message: ComputeMessage) => this.hearCompute(message));
    thread.on("error", (error) => this.failHere(error));
    this.threadEnded = new Promise((resolve) => thread.once("exit", resolve));
  }

  /** Messages over the sockets; the hub's own come the same way. */
  private hear(from: number, message: ToHub | ToAll | Alive): void {
    this.silent.set(from, 0);
    if (message.kind === "alive") return;
    if (message.kind === "ready") this.startThread();
    else if (message.kind === "release") {
      this.waiting = false;
      // all have mapped the memory when the first barrier opens: from now on nobody finds it by name
      if (message.index === 1 && this.worker === 0) {
        this.deps.removeFile(this.attempt.sharedPath);
        this.group.seal();
        // and all have read what they begin with
        this.hub!.after(this.checkSources());
      }
      this.noteStep(message.index, message.directive);
      this.control.release(message.index, message.directive);
    } else if (message.kind === "committed") {
      this.committed = message.step;
      this.settle();
    } else if (message.kind === "over") this.over(message.name, message.message);
    else if (message.kind === "failed") this.hub!.end(message.name, message.message);
    else this.hub!.hear(from, message);
  }

  /** Before the compute thread may go on: a death in a step is never put down to the one before. */
  private noteStep(barrier: number, directive: Directive): void {
    if (barrier === 1) this.whereabouts?.at(this.attempt.resumeStep);
    else if (barrier === this.lastStep?.barrier)
      this.whereabouts?.at(directive === "stop" || directive === "finish" ? null : this.lastStep.step);
  }

  private hearCompute(message: ComputeMessage): void {
    if (message.kind === "arrive") {
      this.waiting = true;
      if (message.record !== undefined) this.lastStep = { step: message.step!, record: message.record, barrier: message.index };
      this.group.toHub(message satisfies ToHub);
    } else if (message.kind === "shard") {
      this.writing = this.writing.then(() => this.writeShard(message)).catch((error: unknown) => this.failHere(error as Error));
    } else if (message.kind === "done") {
      this.done = { status: this.hub?.outgrown === true ? "outgrown" : message.status, step: message.step };
      // what is its own is written, so it waits for the others
      void this.writing.then(() => (this.waiting = true));
      this.settle();
    } else if (message.name !== "AbortedError") this.failHere(errorNamed(message.name, message.message));
  }

  private async writeShard({ step, updates, shard, tensors }: Extract<ComputeMessage, { kind: "shard" }>): Promise<void> {
    const file = shardFile(this.attempt.generation, step, shard);
    const byName = new Map(tensors.map((tensor) => [tensor.name, tensor.data]));
    const bytesOf = (name: string): Uint8Array[] => {
      const data = byName.get(name)!;
      this.written++;
      return [new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
    };
    const written = await this.deps.writeSafetensors(
      join(this.attempt.directory, file),
      tensors.map(({ name, shape }) => ({ name, dtype: "F32" as const, shape })),
      bytesOf,
    );
    this.group.toHub({ kind: "shard", step, updates, file: { shard, file, ...written } } satisfies ToHub);
  }

  /** This worker's own mistake or misfortune: the others hear of it. */
  private failHere(error: Error): void {
    this.whereabouts?.end("failed", messageOf(error));
    this.group.toHub({ kind: "failed", name: error.name, message: messageOf(error) } satisfies ToHub);
    this.over(error.name, messageOf(error));
  }

  private lost(worker: number, how: string): void {
    const message = `worker ${worker} of ${this.attempt.workers} ${how}`;
    if (this.hub !== null) this.hub.end("PeerLostError", message);
    this.over("PeerLostError", message);
    // what a killed first worker made and did not get to unname
    if (worker === 0) for (const path of [this.attempt.sharedPath, this.attempt.socketPath]) this.deps.removeFile(path);
  }

  private over(name: string, message: string): void {
    // at once: the compute thread may be busy for a while yet
    this.whereabouts?.end("told", message);
    this.control.abort();
    this.fail(errorNamed(name, message));
  }

  private settle(): void {
    if (this.done !== null && this.committed >= this.done.step) this.finish(this.done);
  }

  private sayAlive(): void {
    const alive: Alive = { kind: "alive" };
    if (this.hub === null) this.group.toHub(alive);
    else this.group.toAll(alive);
  }

  /** Asked to stop, this worker does not wait for ever for one that does not come any more and whose socket stays open. */
  private missPeers(): void {
    for (let peer = 0; peer < (this.hub === null ? 1 : this.attempt.workers); peer++) {
      if (peer === this.worker) continue;
      const beats = (this.silent.get(peer) ?? 0) + 1;
      this.silent.set(peer, beats);
      if (beats > SILENT_BEATS && this.context.signal.aborted) this.lost(peer, `has not been heard of for ${beats} s`);
    }
  }

  /** Says that work goes on, as long as something moves or this worker waits for another. */
  private startHeartbeat(): NodeJS.Timeout {
    let seen = -1;
    return setInterval(() => {
      this.missPeers();
      this.sayAlive();
      const moved = this.control.moved() + this.written;
      if (moved === seen && !this.waiting) return;
      const stalled = moved === seen;
      seen = moved;
      const { attempt, lastStep } = this;
      const missing = stalled && this.hub !== null ? this.hub.missing() : [];
      this.context.progress({
        stage: "train",
        done: lastStep?.step ?? attempt.resumeStep,
        total: attempt.totalSteps,
        unit: "steps",
        ...(lastStep !== null && { loss: lastStep.record.loss, tokensPerSecond: lastStep.record.tokens / lastStep.record.seconds }),
        ...(stalled && { note: missing.length > 0 ? `waiting for worker ${missing.join(", ")}` : "waiting for the other workers" }),
      });
    }, HEARTBEAT_MS);
  }
}
