import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { errorNamed, messageOf, WorkerDiedError } from "../../../core/errors.js";
import { outputNamed } from "../../../core/stages/results.js";
import type { Compute, ComputeEvent, Directive, StepEnd, TrainingEngine } from "../../../engines/engine.js";
import type { CheckpointEntry, TrainAttempt } from "../log/entries.js";
import type { WhereaboutsFile } from "../log/whereabouts.js";

/** An event of one kind. */
export type EventOf<Kind extends ComputeEvent["kind"]> = Extract<ComputeEvent, { kind: Kind }>;

/** What a rank hears of its computing. */
export interface ComputingEvents {
  arrive(event: EventOf<"arrive">): void;
  shard(event: EventOf<"shard">): void;
  tell(event: EventOf<"tell">): void;
  done(event: EventOf<"done">): void;
  /** also when it has ended without a word: then with a WorkerDiedError */
  failed(error: Error): void;
}

/** A rank's computing as its main thread sees it: what it is at, and where its death would have met it. */
export class Computing {
  /** it works on a step: it neither loads nor waits at a barrier for other ranks */
  busy = false;
  /** the last step that has ended, and the barrier at its end */
  lastStep: (StepEnd & { readonly barrier: number }) | null = null;
  /** the last loss on the test rows; null: none was measured yet, or it is not finite */
  evalLoss: number | null = null;
  private readonly engine: TrainingEngine;
  private attempt: TrainAttempt;
  private readonly worker: number;
  private readonly whereabouts: WhereaboutsFile;
  private readonly events: ComputingEvents;
  private compute: Compute | null = null;
  /** the barrier after which it computes test rows */
  private evaluatesAt = 0;
  /** it has said its last word, or was told to say none */
  private over = false;

  constructor(engine: TrainingEngine, attempt: TrainAttempt, worker: number, whereabouts: WhereaboutsFile, events: ComputingEvents) {
    this.engine = engine;
    this.attempt = attempt;
    this.worker = worker;
    this.whereabouts = whereabouts;
    this.events = events;
  }

  /**
   * Starts it, to go on from a checkpoint or from the base model; not where the attempt is over already. `attempt`: as this
   * machine has it; `address`: of this machine, for the others.
   */
  start(attempt: TrainAttempt, address: string, from: CheckpointEntry | null): void {
    if (this.over) return;
    this.attempt = attempt;
    const { directory, workers, config, inputs, resumeStep, totalSteps, engine: setup } = attempt;
    const [model, tokens] = ["model", "tokens"].map((name) => fileURLToPath(outputNamed(inputs, name).uri)) as [string, string];
    const resume = from && {
      updates: from.updates,
      lossScale: from.steps.at(-1)?.lossScale ?? null,
      files: from.shards.map(({ file }) => join(directory, file)),
    };
    const place = { directory, address, model, tokens };
    const about = { worker: this.worker, workers, ...place, train: config.train, resumeStep, totalSteps, resume, setup };
    const compute = this.engine.start({ ...about, whereabouts: this.whereabouts.file }, (event) => this.hear(event));
    this.compute = compute;
    void compute.ended.then((how) => this.hearEnd(how));
  }

  /** Lets it go on beyond a barrier; `directive` counts at a step's end. */
  release(barrier: number, directive: Directive): void {
    // first, so that a death in a step is never put down to the one before
    if (barrier === 1) this.whereabouts.at(this.attempt.resumeStep);
    // no row that is trained on is to blame then
    else if (barrier === this.evaluatesAt) this.whereabouts.at(null);
    else if (barrier === this.lastStep?.barrier)
      this.whereabouts.at(directive === "stop" || directive === "finish" ? null : this.lastStep.stepsDone);
    this.busy = true;
    this.compute?.release(barrier, directive);
  }

  /** The first rank's computing has said something to the others'. */
  tell(word: unknown): void {
    this.compute?.tell?.(word);
  }

  /** Ends it soon: the attempt is over. */
  abort(): void {
    this.over = true;
    this.compute?.abort();
  }

  /** Resolves when it has ended, or at once where it was not started. */
  async ended(): Promise<void> {
    await this.compute?.ended;
  }

  /** How often something has moved. */
  moved(): number {
    return this.compute?.moved() ?? 0;
  }

  private hear(event: ComputeEvent): void {
    switch (event.kind) {
      case "arrive":
        this.busy = false;
        if (event.evaluates) this.evaluatesAt = event.barrier;
        if (event.end !== undefined) this.lastStep = { ...event.end, barrier: event.barrier };
        if (event.end?.record.evaluation !== undefined) this.evalLoss = event.end.record.evaluation.loss;
        return this.events.arrive(event);
      case "tell":
        return this.events.tell(event);
      case "shard":
        return this.events.shard(event);
      case "done":
        this.over = true;
        return this.events.done(event);
      case "failed":
        this.over = true;
        return this.events.failed(errorNamed(event.name, event.message));
    }
  }

  /** A thread or process that ends without a last word has died, and its step may be to blame as if the whole rank had. */
  private hearEnd(how: string): void {
    if (this.over) return;
    this.over = true;
    const error = new WorkerDiedError(`worker ${this.worker} of ${this.attempt.workers} died: ${how}`);
    this.whereabouts.end("died", messageOf(error));
    this.events.failed(error);
  }
}
