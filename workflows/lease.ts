import {
  CancellationScope,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  getExternalWorkflowHandle,
  isCancellation,
  patched,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  type SignalDefinition,
  workflowInfo,
} from "@temporalio/workflow";
import {
  QUERIES,
  SIGNALS,
  type GpuWorker,
  type Holder,
  type LeaseNews,
  type LeaseRequest,
  type LeaseState,
  type PipelineActivities,
} from "./contract.js";
import { eligible } from "./eligible.js";

/**
 * Lends GPU workers to one run at a time, all or nothing: two runs with four of eight workers each would wait for each
 * other forever. Workers register once, when they start. The run that is about to use a worker asks on the worker's own
 * queue whether it lives, so an idle lease adds nothing to its history.
 */

const { awaitIdle } = proxyActivities<Pick<PipelineActivities, "awaitIdle">>({
  startToCloseTimeout: "365 days",
  heartbeatTimeout: "15 seconds",
});

/** A worker has started. */
export const registerSignal = defineSignal<[GpuWorker]>(SIGNALS.register);
/** A worker has stopped, or does not answer. */
export const deregisterSignal = defineSignal<[Pick<GpuWorker, "queue" | "started">]>(SIGNALS.deregister);
/** A run wants workers. */
export const acquireSignal = defineSignal<[LeaseRequest]>(SIGNALS.acquire);
/** A run is done with its workers. */
export const releaseSignal = defineSignal<[Holder]>(SIGNALS.release);
/** The lease's answer to a run: its workers, or why it waits. */
export const newsSignal = defineSignal<[LeaseNews]>(SIGNALS.leaseNews);
/** The lease as it is now. */
export const leaseQuery = defineQuery<LeaseState>(QUERIES.lease);

interface Waiting {
  readonly request: LeaseRequest;
  /** when its turn came and it began to wait for more workers, in ms since the epoch; null before its turn */
  since: number | null;
  /** the last note that was sent to the run */
  told: string;
}

const same = (a: Holder | null, b: Holder): boolean => a !== null && a.workflowId === b.workflowId && a.firstRunId === b.firstRunId;

/** The singleton workflow. The first worker that registers starts it. `carried`: the state before it continued as new. */
export async function gpuLease(carried?: LeaseState): Promise<void> {
  const lease = new Lease(carried);
  for (;;) {
    const timeout = await lease.turn();
    setCurrentDetails(leaseMarkdown(lease.state()));
    if (workflowInfo().continueAsNewSuggested) {
      lease.stopWatching();
      await continueAsNew<typeof gpuLease>(lease.state());
    }
    await lease.change(timeout);
  }
}

/** Which run has the workers and which runs wait for them. Signals change it between turns. */
class Lease {
  private readonly workers: Map<string, GpuWorker>;
  private readonly waiting: Waiting[];
  private holder: Holder | null;
  private watch: CancellationScope | null = null;
  private changed = true;

  constructor(carried?: LeaseState) {
    this.workers = new Map((carried?.workers ?? []).map((worker) => [worker.queue, worker]));
    this.waiting = (carried?.waiting ?? []).map((request) => ({ request, since: null, told: "" }));
    this.holder = carried?.holder ?? null;
    setHandler(leaseQuery, () => this.state());
    this.handle(registerSignal, (worker) => void this.workers.set(worker.queue, worker));
    this.handle(deregisterSignal, ({ queue, started }) => {
      if (this.workers.get(queue)?.started === started) this.workers.delete(queue);
    });
    this.handle(acquireSignal, (request) => this.enqueue(request));
    this.handle(releaseSignal, (holder) => this.free(holder));
  }

  state(): LeaseState {
    return { workers: [...this.workers.values()], holder: this.holder, waiting: this.waiting.map(({ request }) => request) };
  }

  /** Lends the workers if it can, and tells the other runs why they wait. Resolves to the milliseconds until a turn without a change. */
  async turn(): Promise<number | undefined> {
    for (;;) {
      this.changed = false;
      const next = this.waiting.find(({ request }) => this.holder === null || same(this.holder, request.holder));
      if (next === undefined) break;
      const { request } = next;
      const found = eligible(this.workers.values(), request);
      next.since ??= Date.now();
      const left = request.waitSeconds * 1000 - (Date.now() - next.since);
      const enough = found.workers.length >= request.min;
      if (!found.isComplete && (!enough || left > 0)) {
        await this.tellWaiting();
        return enough ? left : undefined;
      }
      this.waiting.splice(this.waiting.indexOf(next), 1);
      this.holder = request.holder;
      if (!(await tell(request, { workers: found.workers, note: "" }))) this.free(request.holder);
    }
    await this.tellWaiting();
    return undefined;
  }

  /** Resolves when a signal has changed something since the turn began, or after `timeout` milliseconds. */
  async change(timeout: number | undefined): Promise<void> {
    if (timeout === undefined) await condition(() => this.changed);
    else await condition(() => this.changed, timeout, { summary: "more workers may come" });
  }

  stopWatching(): void {
    this.watch?.cancel();
    this.watch = null;
  }

  private handle<T>(signal: SignalDefinition<[T]>, work: (value: T) => void): void {
    setHandler(signal, (value) => {
      work(value);
      this.changed = true;
    });
  }

  /** A run that asks again, after a reset or for the next attempt, keeps its place in the queue. */
  private enqueue(request: LeaseRequest): void {
    const known = this.waiting.findIndex((other) => same(request.holder, other.request.holder));
    const since = known >= 0 && this.waiting[known]!.request.token === request.token ? this.waiting[known]!.since : null;
    this.waiting.splice(known >= 0 ? known : this.waiting.length, known >= 0 ? 1 : 0, { request, since, told: "" });
  }

  private free(gone: Holder): void {
    for (let i = this.waiting.length - 1; i >= 0; i--) if (same(gone, this.waiting[i]!.request.holder)) this.waiting.splice(i, 1);
    if (!same(this.holder, gone)) return;
    this.holder = null;
    this.stopWatching();
  }

  private async tellWaiting(): Promise<void> {
    if (this.holder !== null) this.watch ??= this.watchHolder(this.holder);
    for (const waiter of [...this.waiting]) {
      const note = noteFor(waiter.request, this.workers.values(), this.holder);
      if (waiter.told === note) continue;
      waiter.told = note;
      if (await tell(waiter.request, { workers: null, note })) continue;
      this.free(waiter.request.holder);
      // the next run may get the workers now; earlier versions of this workflow did not look again here
      if (patched("whoIsBehind")) this.changed = true;
    }
  }

  /** Frees the lease when its holder stops training without a release: it was terminated or reset, or it timed out. */
  private watchHolder(watched: Holder): CancellationScope {
    const scope = new CancellationScope();
    const idle = scope.run(() => awaitIdle(watched));
    const looked = (isIdle: boolean) => (): void => {
      if (isIdle) this.free(watched);
      this.changed = true;
    };
    void idle.then(looked(true), looked(false));
    return scope;
  }
}

/** Sends a run news of its request. Returns false when the run is closed. */
async function tell(request: LeaseRequest, news: Omit<LeaseNews, "token">): Promise<boolean> {
  try {
    await getExternalWorkflowHandle(request.holder.workflowId).signal(newsSignal, { token: request.token, ...news });
    return true;
  } catch (error) {
    if (isCancellation(error)) throw error;
    return false;
  }
}

function noteFor(request: LeaseRequest, workers: Iterable<GpuWorker>, holder: Holder | null): string {
  if (holder !== null && !same(holder, request.holder)) return `waiting for the GPU workers: ${holder.workflowId} has them`;
  const found = eligible(workers, request);
  const registered = `${found.workers.length} of ${found.all}`;
  if (request.hosts === undefined) return `waiting for GPU workers on ${request.host}: ${registered} are registered`;
  return `waiting for GPU workers: ${registered} on ${found.hosts} of ${found.allHosts} machine${found.allHosts === 1 ? "" : "s"} are registered`;
}

function leaseMarkdown({ workers, holder, waiting }: LeaseState): string {
  return [
    `workers: ${
      workers.length === 0
        ? "none"
        : workers
            .map(({ queue, address }) => (address === undefined ? queue : `${queue} at ${address}`))
            .sort()
            .join(", ")
    }`,
    `lent to: ${holder?.workflowId ?? "nobody"}`,
    `waiting: ${waiting.length === 0 ? "nobody" : waiting.map(({ holder: { workflowId } }) => workflowId).join(", ")}`,
  ]
    .map((line) => `- ${line}`)
    .join("\n");
}
