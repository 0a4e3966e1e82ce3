import {
  ActivityCancellationType,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  patched,
  proxyActivities,
  sleep,
  workflowInfo,
} from "@temporalio/workflow";
import { isShared } from "../core/config/schema.js";
import type { SentResult } from "../core/stages/results.js";
import { givenUpBecause, NO_ATTEMPTS, nextMove } from "../core/training/next-move.js";
import {
  stageQueue,
  type AttemptHead,
  type GpuActivities,
  type GpuWorker,
  type PipelineActivities,
  type RankPlace,
  type RankResult,
  type StageInput,
} from "./contract.js";
import { hostsOf } from "./eligible.js";
import { describeFailure, isSilentHost, judge, lastFailure, rootCause, wordsOf } from "./failures.js";
import type { Home } from "./home.js";
import { GANG_OPTIONS, HEARTBEAT, SILENT_HOST } from "./options.js";
import type { LeasedWorkers } from "./leased-workers.js";

/** How long the others may take to see by themselves that one of them failed: a closed socket says so in milliseconds. */
const SETTLE = "2 seconds";

/** What training is given. */
export interface Gang {
  readonly input: StageInput;
  /** a shared run's is that of the newest attempt's first worker */
  readonly home: Home;
  readonly workers: LeasedWorkers;
  /** counted up with every attempt */
  readonly tally: { attempts: number };
  note(note: string): void;
  /** tells the user something that is not to be missed when training has ended */
  warn(warning: string): void;
}

/**
 * Trains on all workers that are there; when one fails, the next attempt goes on from the last checkpoint on those that
 * are left or back. null: history has grown long; go on in a new run.
 */
export async function trainGang(gang: Gang): Promise<SentResult<"train"> | null> {
  const { tally, home } = gang;
  const { shards, workers: wish } = gang.input.config.train;
  const shared = isShared(gang.input.config);
  const min = Math.min(wish.min, shards);
  let attempts = NO_ATTEMPTS;
  let enough = shards;
  for (let first = true; ; first = false) {
    if (!first && workflowInfo().continueAsNewSuggested) return null;
    const workers = await gang.workers.acquire({
      host: home.host,
      min,
      max: shards,
      enough,
      waitSeconds: wish.waitSeconds,
      ...(shared && { hosts: wish.hosts }),
    });
    enough = workers.length;
    if (shared) home.host = workers[0]!.host;
    const { beginTraining, finishTraining } = proxyActivities<PipelineActivities>({
      ...GANG_OPTIONS,
      ...(shared && { scheduleToStartTimeout: SILENT_HOST }),
      taskQueue: stageQueue(home.host),
    });
    /** Leaves a machine whose workers answer and whose stages nobody takes; others do not wait for it, because its workers come back at once. */
    const leave = async (): Promise<void> => {
      gang.note(`${home.host} takes no stages: the next attempt goes to another machine, if there is one`);
      await gang.workers.strike(workers.filter(({ host }) => host === home.host));
      enough = min;
    };
    const begun = await unlessSilent(
      shared,
      beginTraining.executeWithOptions(
        { activityId: `train-begin-${tally.attempts + 1}`, summary: `the next attempt, on ${workers.length} workers` },
        [{ ...gang.input, workers: workers.length, ...(shared && { places: placesOf(workers) }) }],
      ),
    );
    if (begun === "silent") {
      await leave();
      continue;
    }
    if ("finished" in begun) return begun.finished;
    tally.attempts++;
    gang.note(attemptNote(begun.attempt, workers));

    const ranks = await runRanks(begun.attempt, workers, gang.note);
    const failures = ranks.flatMap((rank) => (rank.status === "rejected" ? [rank.reason as unknown] : []));
    const results = ranks.flatMap((rank) => (rank.status === "fulfilled" ? [rank.value] : []));
    for (const { notes = [] } of results) for (const each of notes) gang.warn(each);
    if (failures.length === 0 && results.every(({ status }) => status === "finished")) {
      const result = await unlessSilent(
        shared,
        finishTraining.executeWithOptions({ activityId: "train-finish", summary: "the trained model's files" }, [gang.input]),
      );
      if (result === "silent") {
        // all steps are committed: beginning elsewhere finishes them
        await leave();
        continue;
      }
      if (result !== null) return result;
      failures.push(ApplicationFailure.create({ message: "the last checkpoint was no longer whole", type: "CorruptError" }));
    }
    const planned = failures.length === 0 && results.some(({ status }) => status === "outgrown");
    // all saved and stopped: somebody's worker was asked to go, which is the same as having lost it
    const cause =
      failures.length === 0 ? ApplicationFailure.create({ message: "a worker was stopped", type: "WorkerShutdown" }) : rootCause(failures);
    const { resumeStep, generation } = begun.attempt;
    const verdict = planned ? "planned" : judge(cause);
    // earlier versions took what was asked for as a loss, and their runs waited then
    const how = verdict === "asked" && !patched("asked-is-not-lost") ? "lost" : verdict;
    const move = nextMove(attempts, { resumeStep, how });
    if (move.kind === "give up")
      throw move.attempts === 1 ? cause : lastFailure(cause, givenUpBecause(move.attempts, resumeStep, wordsOf(cause)));
    attempts = move.tally;
    if (planned) enough = 1;
    const why = planned ? " as planned at a checkpoint: more workers are there again" : `: ${describeFailure(cause)}`;
    gang.note(`attempt ${generation} ended${why}`);
    if (move.waitSeconds > 0) await sleep(move.waitSeconds * 1000, { summary: "before the next attempt" });
  }
}

/** Where each rank will be. */
function placesOf(workers: readonly GpuWorker[]): RankPlace[] {
  // of several machines only workers with an address are lent
  return workers.map(({ host, address }) => ({ host, address: address! }));
}

/** What an activity of a shared run came to; "silent": its machine has not taken it. */
async function unlessSilent<T>(shared: boolean, activity: Promise<T>): Promise<T | "silent"> {
  try {
    return await activity;
  } catch (error) {
    if (shared && isSilentHost(error)) return "silent";
    throw error;
  }
}

function attemptNote({ generation, resumeStep, totalSteps, setAside = [] }: AttemptHead, workers: readonly GpuWorker[]): string {
  const hosts = hostsOf(workers);
  const machines = hosts.length === 1 ? "" : ` of ${hosts.length > 3 ? `${hosts.length} machines` : hosts.join(" and ")}`;
  const on = `${workers.length} worker${workers.length === 1 ? "" : "s"}${machines}`;
  const from = resumeStep === 0 ? "" : `, from step ${resumeStep}`;
  return [`attempt ${generation} on ${on}: ${totalSteps} steps${from}`, ...setAside].join("; ");
}

/**
 * Runs one activity on each worker. Once one has ended early, those that have not ended soon after are told to, and not
 * waited for: a killed worker's activity ends with its heartbeat timeout only. Whoever still writes then is fenced by the
 * commit log, and a worker that is still busy does not answer the next attempt's ping. But one that a user has paused is
 * waited for: the others have saved and ended, and at unpause the next attempt begins.
 */
async function runRanks(
  attempt: AttemptHead,
  workers: readonly GpuWorker[],
  note: (note: string) => void,
): Promise<PromiseSettledResult<RankResult>[]> {
  const run = CancellationScope.current();
  const scope = new CancellationScope();
  const ended: PromiseSettledResult<RankResult>[] = [];
  const going = new Map<string, Promise<unknown>>();
  let early!: () => void;
  const oneIsOut = new Promise<void>((resolve) => (early = resolve));
  await scope.run(async () => {
    for (const [index, worker] of workers.entries()) {
      const id = `train-${index}-g${attempt.generation}`;
      const settle = (result: PromiseSettledResult<RankResult>): void => {
        ended.push(result);
        going.delete(id);
        if (result.status === "rejected" || result.value.status !== "finished") early();
      };
      const rank = rankActivity(id, attempt, worker, index);
      going.set(
        id,
        rank.then(
          (value) => settle({ status: "fulfilled", value }),
          (reason: unknown) => settle({ status: "rejected", reason }),
        ),
      );
    }
  });
  const all = Promise.all(going.values());
  const patience = scope.run(async () => {
    await oneIsOut;
    await sleep(SETTLE, { summary: "the other workers end by themselves" });
    if (going.size === 0) return;
    const { pausedActivities } = proxyActivities<Pick<PipelineActivities, "pausedActivities">>(GANG_OPTIONS);
    const paused = (await pausedActivities.executeWithOptions({ summary: "whether one of its workers was paused" }, [])).filter((id) =>
      going.has(id),
    );
    if (paused.length > 0) note(pausedNote(paused));
    await Promise.all(paused.map((id) => going.get(id) ?? Promise.resolve()));
  });
  await Promise.race([all, patience.catch(() => all)]);
  // a cancelled run has ended when all have saved
  if (run.consideredCancelled) {
    await all;
    throw new CancelledFailure("cancelled while training");
  }
  scope.cancel();
  return [...ended];
}

function pausedNote(ids: readonly string[]): string {
  const { workflowId } = workflowInfo();
  const commands = ids.map((id) => `temporal activity unpause --workflow-id ${workflowId} --activity-id ${id}`);
  return `paused with ${ids.join(", ")}; all have saved. Go on with: ${commands.join("; ")}`;
}

function rankActivity(activityId: string, attempt: AttemptHead, worker: GpuWorker, index: number): Promise<RankResult> {
  const { trainRank } = proxyActivities<Pick<GpuActivities, "trainRank">>({
    activityId,
    summary: `worker ${index} of ${attempt.workers}, on ${worker.queue}`,
    taskQueue: worker.queue,
    scheduleToStartTimeout: "15 seconds",
    startToCloseTimeout: "365 days",
    heartbeatTimeout: HEARTBEAT,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    // what one process was doing cannot be done again alone, the next attempt is the gang's; the second one is for a
    // pause: the server holds an activity that has one left until it is unpaused, whoever dies meanwhile
    retry: { maximumAttempts: 2, initialInterval: "100 milliseconds" },
  });
  return trainRank({ attempt, worker: index });
}
