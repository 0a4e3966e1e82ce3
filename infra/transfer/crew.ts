import { Worker } from "node:worker_threads";
import { Thread } from "../process/thread.js";
import { ThreadPool, type PoolThread } from "../process/thread-pool.js";
import type { Piece, Progress } from "./block-writer.js";
import type { Arrived, DigestJob, Digests, Job, News, TransferJob } from "./transfer-thread.js";

/** Threads that a download shares, at most; they start when they have something to do. */
const THREADS = 3;
/** The load of digesting a file, where one transfer counts 1: a digest gets a thread to itself if there is one. */
const DIGEST_LOAD = 8;

type Member = PoolThread<Job, Digests | null, News, Arrived>;

/** A digest that is being made. */
export interface Digesting {
  /** So many bytes of the file are there; `piece`: and these are in memory. */
  upTo(bytes: number, piece?: Piece | null): void;
  /** Resolves when all of the file was digested. */
  readonly result: Promise<Digests>;
}

/** The threads of one download. An aborted signal ends them at once, because all progress is on disk. */
export class Crew {
  private readonly pool: ThreadPool<Job, Digests | null, News, Arrived>;
  private readonly writers: { readonly part: string; readonly member: Member }[] = [];
  private readonly signal: AbortSignal;
  private digests = 0;
  private readonly stop = (): void => void this.pool.end(this.signal.reason as Error);

  constructor(signal: AbortSignal) {
    this.signal = signal;
    const thread = (): Thread<Job, Digests | null, News, Arrived> =>
      new Thread(new Worker(new URL("transfer-thread.js", import.meta.url)), { signal, end: "a thread of the download ended" });
    this.pool = new ThreadPool(THREADS, thread);
    signal.addEventListener("abort", this.stop, { once: true });
  }

  /** Brings segments; `onDone` hears how far it has come. */
  async transfer(job: TransferJob, onDone: (how: Progress) => void, onNote: (note: string) => void): Promise<void> {
    this.signal.throwIfAborted();
    // the thread that writes the file already: two would wait for each other, because a file has one lock
    const writer = { part: job.part, member: this.writers.find(({ part }) => part === job.part)?.member ?? this.pool.freest() };
    this.writers.push(writer);
    try {
      await this.pool.ask(writer.member, { transfer: job }, 1, (news) => {
        if ("piece" in news) onDone(news);
        if ("note" in news) onNote(news.note);
      });
    } finally {
      this.writers.splice(this.writers.indexOf(writer), 1);
    }
  }

  /** Digests a file, as far as `upTo` says that it is there; `onDone` hears how far. */
  digest(job: DigestJob, onDone: (upTo: number) => void = () => undefined): Digesting {
    this.signal.throwIfAborted();
    const digest = this.digests++;
    const member = this.pool.freest();
    const answer = this.pool.ask(member, { digest, job }, DIGEST_LOAD, (news) => {
      if ("upTo" in news) onDone(news.upTo);
    });
    const result = answer.then((digests) => digests!);
    // a caller that gives up on the file doesn't wait for its digest
    result.catch(() => undefined);
    return { upTo: (upTo, piece = null) => member.thread.tell({ digest, upTo, piece }), result };
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    this.signal.removeEventListener("abort", this.stop);
    await this.pool.end(new Error("the download was given up"));
  }
}
