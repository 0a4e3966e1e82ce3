import { Worker } from "node:worker_threads";
import { errorNamed } from "../../core/errors.js";
import type { Piece, Progress } from "./block.js";
import type { DigestJob, Digests, Order, TransferJob, Word } from "./transfer-thread.js";

/** Threads that a download shares, at most; they start when they have something to do. */
const THREADS = 3;
/** What digesting a file counts for beside one transfer: it gets a thread to itself where there is one. */
const DIGEST_LOAD = 8;

interface Hand {
  readonly worker: Worker;
  load: number;
}

interface Job {
  readonly hand: Hand;
  /** what it writes */
  readonly part: string | null;
  readonly load: number;
  heard(word: Word): void;
  failed(error: Error): void;
}

/** A digest that is being made. */
export interface Digesting {
  /** So many bytes of the file are there; `piece`: and these are in memory. */
  upTo(bytes: number, piece?: Piece | null): void;
  /** Resolves when all of the file was digested. */
  readonly result: Promise<Digests>;
}

/** The threads of one download. An aborted signal ends them at once: what they had noted is on disk. */
export class Crew {
  private readonly hands: Hand[] = [];
  private readonly jobs = new Map<number, Job>();
  private readonly signal: AbortSignal;
  private next = 0;
  private readonly stop = (): void => this.endAll(this.signal.reason as Error);

  constructor(signal: AbortSignal) {
    this.signal = signal;
    signal.addEventListener("abort", this.stop, { once: true });
  }

  /** Brings segments; `onDone` hears how far it has come. */
  async transfer(job: TransferJob, onDone: (how: Progress) => void, onNote: (note: string) => void): Promise<void> {
    await this.give({ transfer: job }, 1, job.part, (word) => {
      if ("piece" in word) onDone(word);
      if ("note" in word) onNote(word.note);
    }).result;
  }

  /** Digests a file, as far as `upTo` says that it is there; `onDone` hears how far. */
  digest(job: DigestJob, onDone: (upTo: number) => void = () => undefined): Digesting {
    const { tell, result } = this.give({ digest: job }, DIGEST_LOAD, null, (word) => {
      if ("upTo" in word) onDone(word.upTo);
    });
    const digests = result.then((made) => made!);
    // who gives up on a file doesn't wait for its digest
    digests.catch(() => undefined);
    return { upTo: (bytes, piece = null) => tell({ upTo: bytes, piece }), result: digests };
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    this.signal.removeEventListener("abort", this.stop);
    this.endAll(new Error("the download was given up"));
    await Promise.all(this.hands.map(({ worker }) => worker.terminate()));
  }

  private endAll(reason: Error): void {
    for (const { worker } of this.hands) void worker.terminate();
    for (const job of this.jobs.values()) job.failed(reason);
    this.jobs.clear();
  }

  private give(
    order: { readonly transfer: TransferJob } | { readonly digest: DigestJob },
    load: number,
    part: string | null,
    heard: (word: Word) => void,
  ): {
    readonly tell: (more: { readonly upTo: number; readonly piece: Piece | null }) => void;
    readonly result: Promise<Digests | null>;
  } {
    this.signal.throwIfAborted();
    const id = this.next++;
    const hand = this.writerOf(part) ?? this.freest();
    hand.load += load;
    const result = new Promise<Digests | null>((resolve, reject) => {
      this.jobs.set(id, {
        hand,
        part,
        load,
        heard: (word) => {
          heard(word);
          if ("failed" in word) reject(errorNamed(word.failed.name, word.failed.message));
          if ("finished" in word) resolve(word.finished);
        },
        failed: reject,
      });
    });
    hand.worker.postMessage({ id, ...order } satisfies Order);
    return { tell: (more) => hand.worker.postMessage({ id, ...more } satisfies Order), result };
  }

  /** The thread that writes a file already: two would spend their time waiting for each other, for a file has one lock. */
  private writerOf(part: string | null): Hand | undefined {
    return part === null ? undefined : [...this.jobs.values()].find((job) => job.part === part)?.hand;
  }

  /** The thread with the least to do; a new one where all have something. */
  private freest(): Hand {
    const least = this.hands.toSorted((a, b) => a.load - b.load)[0];
    if (least !== undefined && (least.load === 0 || this.hands.length === THREADS)) return least;
    const hand: Hand = { worker: new Worker(new URL("transfer-thread.js", import.meta.url)), load: 0 };
    hand.worker.on("message", (word: Word) => this.hear(word));
    hand.worker.on("error", (error) => this.endAll(error));
    this.hands.push(hand);
    return hand;
  }

  private hear(word: Word): void {
    const job = this.jobs.get(word.id);
    if (job === undefined) return;
    if ("finished" in word || "failed" in word) {
      job.hand.load -= job.load;
      this.jobs.delete(word.id);
    }
    job.heard(word);
  }
}
