import type { Thread } from "./thread.js";

/** A thread of a pool, and how much it has to do. */
export interface PoolThread<Question, Answer, News = never, Note = never> {
  readonly thread: Thread<Question, Answer, News, Note>;
  /** the sum of its questions' loads */
  load: number;
}

/** Threads that share questions by their loads; one more starts when all of them have something to do. */
export class ThreadPool<Question, Answer, News = never, Note = never> {
  readonly threads: PoolThread<Question, Answer, News, Note>[] = [];
  private readonly most: number;
  private readonly startThread: () => Thread<Question, Answer, News, Note>;

  /** Of `most` threads at most; the first one starts with the first question. */
  constructor(most: number, startThread: () => Thread<Question, Answer, News, Note>) {
    this.most = most;
    this.startThread = startThread;
  }

  /** Starts threads ahead of their questions, until there are `count` or as many as there may be. */
  start(count: number): void {
    while (this.threads.length < Math.min(count, this.most)) this.threads.push({ thread: this.startThread(), load: 0 });
  }

  /** The thread with the least to do, started now if all others have something to do and there may be more. */
  freest(): PoolThread<Question, Answer, News, Note> {
    if (this.threads.every(({ load }) => load > 0)) this.start(this.threads.length + 1);
    return this.threads.reduce((least, each) => (each.load < least.load ? each : least));
  }

  /** Asks one of the pool's threads a question, which counts as `load` until it is answered. */
  async ask(
    chosen: PoolThread<Question, Answer, News, Note>,
    question: Question,
    load: number,
    onNews?: (news: News) => void,
  ): Promise<Answer> {
    chosen.load += load;
    try {
      return await chosen.thread.ask(question, onNews);
    } finally {
      chosen.load -= load;
    }
  }

  /** Ends all threads at once; questions that wait fail with `reason`. */
  async end(reason?: Error): Promise<void> {
    await Promise.all(this.threads.map(({ thread }) => thread.terminate(reason)));
  }
}
