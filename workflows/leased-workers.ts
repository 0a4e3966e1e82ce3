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
import { acquireSignal, deregisterSignal, newsSignal, releaseSignal } from "./lease.js";

/**
 * Seconds after which a wish is told to the lease again, should it have been ended and begun anew meanwhile. Each time leaves
 * a dozen events, and a history of 50,000 ends its run: so a run may wait for half a year.
 */
const REPEAT = { first: 5, last: 3600 };

/** Milliseconds that a worker which is there may take to answer. */
const MIN_WAIT_MS = 5000;

/** Milliseconds after which a run says for whom it waits. */
const QUIET_MS = 2000;

type Wish = Omit<LeaseRequest, "holder" | "token">;

/** A run's side of the lease. */
export class LeasedWorkers {
  private readonly holder: Holder;
  private readonly lease = getExternalWorkflowHandle(LEASE_ID);
  private readonly note: (note: string) => void;
  private token = "";
  private asked = 0;
  private granted: readonly GpuWorker[] | null = null;

  /** `note` hears why the run waits. */
  constructor(note: (note: string) => void) {
    this.note = note;
    this.holder = { workflowId: workflowInfo().workflowId, firstRunId: workflowInfo().firstExecutionRunId };
    setHandler(newsSignal, (news) => this.hear(news));
  }

  /** All workers of the host, or after `waitSeconds` at least `min`: those that answered just now. Waits for its turn. */
  async acquire(wish: Wish): Promise<readonly GpuWorker[]> {
    for (;;) {
      const workers = await this.ask(wish);
      this.asked++;
      const silent = new Set(workers.map(({ slot }) => slot));
      // the lease has waited for those that said goodbye; the same time is for those that did not
      const waited = workers.length < Math.min(wish.enough, Math.max(...workers.map(({ of }) => of)));
      const left = waited ? MIN_WAIT_MS : Math.max(wish.waitSeconds * 1000, MIN_WAIT_MS);
      const patience = new CancellationScope();
      void patience
        .run(() => sleep(QUIET_MS, { summary: "until it is said who does not answer" }))
        .then(
          () =>
            this.note(`waiting at most ${duration(Math.ceil(left / 1000))} for GPU workers that do not answer: ${[...silent].join(", ")}`),
          () => undefined,
        );
      const alive = await Promise.all(
        workers.map((worker) => answers(worker, left, this.asked).finally(() => void silent.delete(worker.slot))),
      );
      patience.cancel();
      const dead = workers.filter((_, index) => !alive[index]);
      for (const { queue, started } of dead) await this.tell(() => this.lease.signal(deregisterSignal, { queue, started }));
      if (workers.length - dead.length >= wish.min) return workers.filter((_, index) => alive[index]);
    }
  }

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
      const summary = "waiting for GPU workers, then the lease is asked again";
      if (await condition(() => this.granted !== null, seconds * 1000, { summary })) return this.granted!;
    }
  }

  private hear(news: LeaseNews): void {
    // a wish that was told again crosses the grant, and is answered as if it waited
    if (news.token !== this.token || this.granted !== null) return;
    this.granted = news.workers;
    if (news.note !== "") this.note(news.note);
  }

  /** Sends a signal; false when there is no lease, for it begins with the first worker. */
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

/** Whether a worker takes a task from its queue in time: one that died and comes back within it does. */
async function answers(worker: GpuWorker, waitMs: number, round: number): Promise<boolean> {
  const { ping } = proxyActivities<Pick<GpuActivities, "ping">>({
    taskQueue: worker.queue,
    scheduleToStartTimeout: waitMs,
    startToCloseTimeout: "5 seconds",
    retry: { maximumAttempts: 1 },
    activityId: `ping-${worker.slot}-${round}`,
    summary: `is ${worker.queue} there?`,
  });
  try {
    await ping();
    return true;
  } catch (error) {
    if (isCancellation(error)) throw error;
    return false;
  }
}
