import { Worker } from "node:worker_threads";
import { UserError } from "../../core/errors.js";
import { Thread } from "../process/thread.js";

/** The most that one answer may take: if it takes more, a damaged file claims more than it has. */
const LIMITS = { megabytes: 1536, milliseconds: 5 * 60_000 };

/** A thread that reads one file: a damaged file can make its reader loop or lose errors, and then it ends that thread alone. */
export class ReaderThread<Question, Answer> {
  private readonly worker: Worker;
  private readonly thread: Thread<Question, Answer>;
  private readonly file: string;
  private readonly what: string;
  private readonly signal: AbortSignal;

  /** `entry` is the thread's module beside this one; `what` says in an error what the file ought to be: "a whole Parquet file". */
  constructor(entry: string, data: unknown, signal: AbortSignal, { file, what }: { readonly file: string; readonly what: string }) {
    this.worker = new Worker(new URL(entry, import.meta.url), {
      workerData: data,
      resourceLimits: { maxOldGenerationSizeMb: LIMITS.megabytes },
    });
    this.thread = new Thread(this.worker, { signal, end: "its reader ended: a part of it has no end" });
    [this.file, this.what, this.signal] = [file, what, signal];
  }

  /** Asks a question. Throws UserError naming the file if it is damaged. */
  async ask(question: Question): Promise<Answer> {
    const late = setTimeout(() => void this.worker.terminate(), LIMITS.milliseconds);
    try {
      return await this.thread.ask(question);
    } catch (error) {
      this.signal.throwIfAborted();
      if (this.thread.failure === null) throw error;
      throw new UserError(`a data file is not ${this.what}`, { file: this.file }, { cause: error });
    } finally {
      clearTimeout(late);
    }
  }

  end(): Promise<void> {
    return this.thread.terminate();
  }
}

/** What `next` of a thread's batches gives; null: there are no more. */
export async function* batchesOf<Batch>(reader: ReaderThread<"next", Batch | null>): AsyncGenerator<Batch> {
  try {
    for (let batch = await reader.ask("next"); batch !== null; batch = await reader.ask("next")) yield batch;
  } finally {
    await reader.end();
  }
}
