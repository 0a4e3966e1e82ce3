import { parentPort, type Worker } from "node:worker_threads";
import { errorNamed, messageOf } from "../../core/errors.js";

/** Questions to threads, and their answers. A thread that ends, however it ends, fails the questions that wait for it. */

/** From the owner to a thread. */
type Sent<Question, Note> = { readonly id: number; readonly question: Question } | { readonly note: Note };
/** From a thread to its owner. */
type Reply<Answer, News> = { readonly id: number } & (
  | { readonly news: News }
  | { readonly answer: Answer }
  | { readonly failed: { readonly name: string; readonly message: string } }
);

interface Waiting<Answer, News> {
  resolve(answer: Answer): void;
  reject(error: Error): void;
  onNews(news: News): void;
}

/** A thread that answers questions by `serve`; several may wait at a time. */
export class Thread<Question, Answer, News = never, Note = never> {
  /** Resolves when the thread has ended. */
  readonly ended: Promise<void>;
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting<Answer, News>>();
  private asked = 0;
  private over: Error | null = null;

  /** An aborted `signal` fails every question with its reason and leaves the thread running. `end`: the error's message if the thread ends without an error. */
  constructor(worker: Worker, { signal, end }: { readonly signal: AbortSignal; readonly end: string }) {
    this.worker = worker;
    const abort = (): void => this.fail(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    const fail = (error: Error): void => this.fail(error);
    worker
      .on("message", (reply: Reply<Answer, News>) => this.hear(reply))
      .on("error", fail)
      .on("messageerror", fail);
    this.ended = new Promise((resolve) => {
      worker.once("exit", () => {
        signal.removeEventListener("abort", abort);
        fail(new Error(end));
        resolve();
      });
    });
  }

  /** Why no question can be answered any more; null while they can. */
  get failure(): Error | null {
    return this.over;
  }

  /** Asks one question; `onNews` hears what the thread says before the answer. Rejects with the thread's error, or with `failure`. */
  ask(question: Question, onNews: (news: News) => void = () => undefined): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.over !== null) throw this.over;
      const id = this.asked++;
      this.worker.postMessage({ id, question } satisfies Sent<Question, Note>);
      this.waiting.set(id, { resolve, reject, onNews });
    });
  }

  /** Sends a note, which has no answer. */
  tell(note: Note): void {
    this.worker.postMessage({ note } satisfies Sent<Question, Note>);
  }

  /** Ends the thread at once; questions that wait fail with `reason`. */
  async terminate(reason: Error = new Error("the thread was ended")): Promise<void> {
    this.fail(reason);
    await this.worker.terminate();
  }

  private hear(reply: Reply<Answer, News>): void {
    const waiting = this.waiting.get(reply.id);
    if (waiting === undefined) return;
    if ("news" in reply) return waiting.onNews(reply.news);
    this.waiting.delete(reply.id);
    if ("answer" in reply) waiting.resolve(reply.answer);
    else waiting.reject(errorNamed(reply.failed.name, reply.failed.message));
  }

  private fail(error: Error): void {
    this.over ??= error;
    for (const { reject } of this.waiting.values()) reject(this.over);
    this.waiting.clear();
  }
}

/** Answers the questions to this thread, each as soon as it comes. `say` sends news to the one who asked; `hear` takes notes. */
export function serve<Question, Answer, News = never, Note = never>(
  answer: (question: Question, say: (news: News) => void) => Promise<Answer>,
  hear: (note: Note) => void = () => undefined,
): void {
  const port = parentPort!;
  const reply = (message: Reply<Answer, News>): void => port.postMessage(message);
  port.on("message", (sent: Sent<Question, Note>) => {
    if ("note" in sent) return hear(sent.note);
    const { id } = sent;
    void answer(sent.question, (news) => reply({ id, news })).then(
      (value) => reply({ id, answer: value }),
      (error: unknown) => reply({ id, failed: { name: error instanceof Error ? error.name : "Error", message: messageOf(error) } }),
    );
  });
}
