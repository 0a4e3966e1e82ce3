import {
  CancellationScope,
  condition,
  getExternalWorkflowHandle,
  isCancellation,
  proxyActivities,
  setHandler,
  sleep,
  uuid4,
  workflowInfo,
} from "@temporalio/workflow";
import { duration } from "../core/units.js";
import { LEASE_ID, type GpuActivities, type GpuWorker, type Holder, type LeaseNews, type LeaseRequest } from "./contract.js";
import { eligible } from "./eligible.js";
import { acquireSignal, deregisterSignal, newsSignal, releaseSignal } from "./lease.js";

/**
 * Seconds after which a run asks the lease again, because the lease may have been ended and started anew meanwhile. Each
 * request leaves a dozen events, and a history of 50,000 events ends its run. With these waits a run may wait for half a year.
 */
const REPEAT = { first: 5, last: 3600 };

/** Milliseconds that a living worker may take to answer. */
const MIN_WAIT_MS = 5000;

/** Milliseconds after which a run says which workers it waits for. */
const QUIET_MS = 2000;

type Wish = Omit<LeaseRequest, "holder" | "token">;

/** A run's side of the lease: it asks for GPU workers, checks that they live, and gives them back. */
export class LeasedWorkers {
  private readonly holder: Holder;
  private readonly lease = getExternalWorkflowHandle(LEASE_ID);
  private readonly note: (note: string) => void;
  private token = "";
  private asked = 0;
  private granted: readonly GpuWorker[] | null = null;

  /** `note` is called with the reason why the run waits. */
  constructor(note: (note: string) => void) {
    this.note = note;
    this.holder = { workflowId: workflowInfo().workflowId, firstRunId: workflowInfo().firstExecutionRunId };
    setHandler(newsSignal, (news) => this.hear(news));
  }

  /** Waits for the run's turn. Resolves to all workers that it may have, or after `waitSeconds` to at least `min`; each has just answered. */
  async acquire(wish: Wish): Promise<readonly GpuWorker[]> {
    for (;;) {
      const workers = await this.ask(wish);
      this.asked++;
      const nameOf = ({ host, slot }: GpuWorker): string => (wish.hosts === undefined ? `${slot}` : `${host}-${slot}`);
      const silent = new Set(workers.map(nameOf));
      // if the lease hands out fewer than all, it has waited for the others; if not, registered workers get that time to answer
      const waited = !eligible(workers, wish).isComplete;
      const left = waited ? MIN_WAIT_MS : Math.max(wish.waitSeconds * 1000, MIN_WAIT_MS);
      const patience = new CancellationScope();
      void patience
        .run(() => sleep(QUIET_MS, { summary: "then the run says which workers do not answer" }))
        .then(
          () =>
            this.note(`waiting at most ${duration(Math.ceil(left / 1000))} for GPU workers that do not answer: ${[...silent].join(", ")}`),
          () => undefined,
        );
      const alive = await Promise.all(
        workers.map((worker) => answers(worker, left, `ping-${nameOf(worker)}-${this.asked}`).finally(() => silent.delete(nameOf(worker)))),
      );
      patience.cancel();
      const dead = workers.filter((_, index) => !alive[index]);
      await this.strike(dead);
      if (workers.length - dead.length >= wish.min) return workers.filter((_, index) => alive[index]);
    }
  }

  /** Tells the lease that workers do not answer; those that live register again. */
  async strike(workers: readonly GpuWorker[]): Promise<void> {
    for (const { queue, started } of workers) await this.tell(() => this.lease.signal(deregisterSignal, { queue, started }));
  }

  /** Gives the workers back, if the run has any. */
  async release(): Promise<void> {
    if (this.token !== "") await this.tell(() => this.lease.signal(releaseSignal, this.holder));
    this.token = "";
  }

  private async ask(wish: Wish): Promise<readonly GpuWorker[]> {
    this.token = uuid4();
    this.granted = null;
    for (let seconds = REPEAT.first; ; seconds = Math.min(seconds * 2, REPEAT.last)) {
      const heard = await this.tell(() => this.lease.signal(acquireSignal, { ...wish, holder: this.holder, token: this.token }));
      if (!heard) this.note("waiting for GPU workers: none has ever registered");
      const summary = "waiting for GPU workers; then the run asks the lease again";
      if (await condition(() => this.granted !== null, seconds * 1000, { summary })) return this.granted!;
    }
  }

  private hear(news: LeaseNews): void {
    // a repeated request may cross the grant; its answer then says that the run waits
    if (news.token !== this.token || this.granted !== null) return;
    this.granted = news.workers;
    if (news.note !== "") this.note(news.note);
  }

  /** Sends a signal. Returns false when no lease runs: the first worker that registers starts it. */
  private async tell(send: () => Promise<void>): Promise<boolean> {
    try {
      await send();
      return true;
    } catch (error) {
      if (isCancellation(error)) throw error;
      return false;
    }
  }
}

/** Whether a worker takes a task from its queue within `waitMs`. A worker that died counts if it is back by then. */
async function answers(worker: GpuWorker, waitMs: number, activityId: string): Promise<boolean> {
  const { ping } = proxyActivities<Pick<GpuActivities, "ping">>({
    taskQueue: worker.queue,
    scheduleToStartTimeout: waitMs,
    startToCloseTimeout: "5 seconds",
    retry: { maximumAttempts: 1 },
    activityId,
    summary: `does ${worker.queue} answer?`,
  });
  try {
    await ping();
    return true;
  } catch (error) {
    if (isCancellation(error)) throw error;
    return false;
  }
}
