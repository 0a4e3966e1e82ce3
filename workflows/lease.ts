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

/**
 * Lends GPU workers to one run at a time, all or nothing: two runs with four of eight workers each would wait for each
 * other for ever. Workers register once, when they start; whether one lives is asked on its own queue by the run that
 * is about to use it, so an idle lease adds nothing to its history.
 */

const { awaitIdle } = proxyActivities<Pick<PipelineActivities, "awaitIdle">>({
  startToCloseTimeout: "365 days",
  heartbeatTimeout: "15 seconds",
});

/** A worker is there. */
export const registerSignal = defineSignal<[GpuWorker]>(SIGNALS.register);
/** A worker is gone. */
export const deregisterSignal = defineSignal<[Pick<GpuWorker, "queue" | "started">]>(SIGNALS.deregister);
/** A run wants workers. */
export const acquireSignal = defineSignal<[LeaseRequest]>(SIGNALS.acquire);
/** A run is done with its workers. */
export const releaseSignal = defineSignal<[Holder]>(SIGNALS.release);
/** The lease's word to a run. */
export const newsSignal = defineSignal<[LeaseNews]>(SIGNALS.leaseNews);
/** The lease as it is now. */
export const leaseQuery = defineQuery<LeaseState>(QUERIES.lease);

interface Waiting {
  readonly request: LeaseRequest;
  /** when it began to wait for more workers; it waits for its turn first */
  since: number | null;
  /** what the run was told last */
  told: string;
}

const same = (a: Holder | null, b: Holder): boolean => a !== null && a.workflowId === b.workflowId && a.firstRunId === b.firstRunId;

/** The workers that a request would get, lowest slots first, and how many it should wait for. */
export function eligible(workers: Iterable<GpuWorker>, request: LeaseRequest): { workers: GpuWorker[]; all: number } {
  const own = [...workers].filter((worker) => worker.host === request.host).sort((a, b) => a.slot - b.slot);
  const all = Math.max(request.min, Math.min(request.max, request.enough, Math.max(0, ...own.map((worker) => worker.of))));
  return { workers: own.slice(0, request.max), all };
}

/** The singleton workflow; started by whichever worker registers first. */
export async function gpuLease(carried?: LeaseState): Promise<void> {
  const workers = new Map((carried?.workers ?? []).map((worker) => [worker.queue, worker]));
  const waiting: Waiting[] = (carried?.waiting ?? []).map((request) => ({ request, since: null, told: "" }));
  let holder: Holder | null = carried?.holder ?? null;
  let watch: CancellationScope | null = null;
  let changed = true;

  const on =
    <T>(handle: (value: T) => void) =>
    (value: T): void => {
      handle(value);
      changed = true;
    };
  const drop = (gone: Holder): void => {
    for (let i = waiting.length - 1; i >= 0; i--) if (same(gone, waiting[i]!.request.holder)) waiting.splice(i, 1);
  };
  const free = (gone: Holder): void => {
    drop(gone);
    if (!same(gone, holder ?? { workflowId: "", firstRunId: "" })) return;
    holder = null;
    watch?.cancel();
    watch = null;
  };
  const state = (): LeaseState => ({ workers: [...workers.values()], holder, waiting: waiting.map(({ request }) => request) });

  setHandler(leaseQuery, state);
  setHandler(
    registerSignal,
    on((worker) => workers.set(worker.queue, worker)),
  );
  setHandler(
    deregisterSignal,
    on(({ queue, started }) => {
      if (workers.get(queue)?.started === started) workers.delete(queue);
    }),
  );
  setHandler(
    acquireSignal,
    on((request) => {
      const known = waiting.findIndex((other) => same(request.holder, other.request.holder));
      // asked again, after a reset or for the next attempt: the place in the row stays
      const since = known >= 0 && waiting[known]!.request.token === request.token ? waiting[known]!.since : null;
      waiting.splice(known >= 0 ? known : waiting.length, known >= 0 ? 1 : 0, { request, since, told: "" });
    }),
  );
  setHandler(releaseSignal, on(free));

  const tell = async (request: LeaseRequest, news: Omit<LeaseNews, "token">): Promise<boolean> => {
    try {
      await getExternalWorkflowHandle(request.holder.workflowId).signal(newsSignal, { token: request.token, ...news });
      return true;
    } catch (error) {
      if (isCancellation(error)) throw error;
      return false; // it is closed
    }
  };

  /** Frees the lease when its holder stops training without a word: terminated, timed out, or reset. */
  const watchHolder = (watched: Holder): CancellationScope => {
    const scope = new CancellationScope();
    const idle = scope.run(() => awaitIdle(watched));
    void idle.then(
      on(() => free(watched)),
      on(() => undefined),
    );
    return scope;
  };

  for (;;) {
    changed = false;
    const next = waiting.find(({ request }) => holder === null || same(holder, request.holder));
    let timeout: number | undefined;
    if (next !== undefined) {
      const { request } = next;
      const found = eligible(workers.values(), request);
      next.since ??= Date.now();
      const left = request.waitSeconds * 1000 - (Date.now() - next.since);
      if (found.workers.length >= found.all || (found.workers.length >= request.min && left <= 0)) {
        waiting.splice(waiting.indexOf(next), 1);
        holder = request.holder;
        if (!(await tell(request, { workers: found.workers, note: "" }))) free(request.holder);
        continue;
      }
      timeout = found.workers.length >= request.min ? left : undefined;
    }
    if (holder !== null) watch ??= watchHolder(holder);
    for (const waiter of [...waiting]) {
      const note = noteFor(waiter.request, workers.values(), holder);
      if (waiter.told === note) continue;
      waiter.told = note;
      if (await tell(waiter.request, { workers: null, note })) continue;
      free(waiter.request.holder);
      // the workers may be for who is behind it; a lease of an earlier version slept here
      if (patched("whoIsBehind")) changed = true;
    }
    setCurrentDetails(leaseMarkdown(state()));
    if (workflowInfo().continueAsNewSuggested) {
      watch?.cancel();
      await continueAsNew<typeof gpuLease>(state());
    }
    if (timeout === undefined) await condition(() => changed);
    else await condition(() => changed, timeout, { summary: "more workers may come" });
  }
}

function noteFor(request: LeaseRequest, workers: Iterable<GpuWorker>, holder: Holder | null): string {
  if (holder !== null && !same(holder, request.holder)) return `waiting for the GPU workers, which ${holder.workflowId} has`;
  const found = eligible(workers, request);
  return `waiting for GPU workers on ${request.host}: ${found.workers.length} of ${found.all} are there`;
}

function leaseMarkdown({ workers, holder, waiting }: LeaseState): string {
  return [
    `workers: ${
      workers.length === 0
        ? "none"
        : workers
            .map((worker) => worker.queue)
            .sort()
            .join(", ")
    }`,
    `lent to: ${holder?.workflowId ?? "nobody"}`,
    `waiting: ${waiting.length === 0 ? "nobody" : waiting.map(({ holder: { workflowId } }) => workflowId).join(", ")}`,
  ]
    .map((line) => `- ${line}`)
    .join("\n");
}
