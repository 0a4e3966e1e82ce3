import { fork, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Stage, type StageContext, type StageRequest } from "../activities/common/stage.js";
import { trainDefinition } from "../activities/train/definition.js";
import type { TrainDeps } from "../activities/train/deps.js";
import type { TrainAttempt } from "../activities/train/log/entries.js";
import { beginTraining, noteAttempt } from "../activities/train/run/begin.js";
import { finishTraining } from "../activities/train/run/finish.js";
import { CorruptError, errorNamed, FencedError, PeerLostError, StoppedError, UserError, WorkerDiedError } from "../core/errors.js";
import type { StageResult } from "../core/stages/results.js";
import { givenUpBecause, NO_ATTEMPTS, nextMove, type AttemptEnd } from "../core/training/next-move.js";
import { deviceVariables } from "../infra/gpu/choose-gpus.js";
import type { Gpu } from "../infra/gpu/nvidia-smi.js";
import type { RankResult } from "../workflows/contract.js";
import type { FromParent, ToParent } from "./serve-rank.js";

/** Training without Temporal: this process starts the ranks of each attempt, and the next attempt after a loss. */

/** How long the ranks of an attempt may take to see by themselves that one is gone. */
const SETTLE_MS = 2000;

const BEAT_MS = 1000;
/** Beats after which a rank's process that said nothing is frozen: one that lives says so every second. A clock would count a Ctrl-Z of all of them. */
const SILENT_BEATS = 45;

/** The usual entry of a rank's process. */
const RANK_PROCESS = join(import.meta.dirname, "rank-process.js");

/** glibc's malloc keeps large blocks instead of giving them back and asking again: see docs/decisions/0005-onnxruntime-through-c.md. */
export const MALLOC_SETTINGS = {
  MALLOC_ARENA_MAX: "1",
  MALLOC_MMAP_THRESHOLD_: "1073741824",
  MALLOC_TRIM_THRESHOLD_: "4294967295",
  MALLOC_TOP_PAD_: "67108864",
} as const;

/**
 * Trains on `workers` processes of this machine; an abort of the context's signal saves and throws its reason. `entry`: the
 * script of a rank's process, which must know the same engines. `gpus`: one for each worker; none: all compute on the CPU.
 */
export async function trainLocally(
  deps: TrainDeps,
  request: StageRequest,
  workers: number,
  context: StageContext,
  entry: string = RANK_PROCESS,
  gpus: readonly Gpu[] = [],
): Promise<StageResult<"train">> {
  return await new Stage(trainDefinition, request).locked(context, async () => {
    let attempts = NO_ATTEMPTS;
    for (;;) {
      context.signal.throwIfAborted();
      const machine = { ...deps.machine, onGpus: gpus.length > 0 };
      const begun = await beginTraining({ ...deps, machine }, request, { workers }, context);
      if ("finished" in begun) return begun.finished;
      const { attempt } = begun;
      const failure = await runAttempt(attempt, context, entry, gpus);
      context.signal.throwIfAborted();
      const cause = failure ?? new CorruptError("the last checkpoint is no longer whole");
      const how = judge(cause);
      if (how === "fatal") throw cause;
      if (failure === null) {
        const result = await finishTraining(deps, request, context);
        if (result !== null) return result;
      } else await noteAttempt(deps, request, context.signal);
      const { resumeStep, totalSteps } = attempt;
      const move = nextMove(attempts, { resumeStep, how });
      if (move.kind === "give up") throw new Error(givenUpBecause(move.attempts, resumeStep, cause.message));
      attempts = move.tally;
      const note = `${cause.message}; starting again from the last checkpoint`;
      context.progress({ stage: "train", done: resumeStep, total: totalSteps, unit: "steps", note, lasting: true });
      await sleep(move.waitSeconds * 1000, undefined, { signal: context.signal }).catch(() => undefined);
    }
  });
}

function judge(cause: Error): AttemptEnd["how"] {
  if (cause instanceof UserError || cause instanceof FencedError) return "fatal";
  // no rank died: one was asked to stop
  if (cause instanceof StoppedError) return "asked";
  return cause instanceof WorkerDiedError || isTold(cause) ? "lost" : "error";
}

/** Whether a rank only heard of the attempt's end. */
function isTold(error: Error): boolean {
  return error instanceof PeerLostError || error instanceof StoppedError;
}

/** Runs the ranks of one attempt; null when all came to its end, else the failure from which the others follow. */
async function runAttempt(attempt: TrainAttempt, context: StageContext, entry: string, gpus: readonly Gpu[]): Promise<Error | null> {
  const ranks = Array.from({ length: attempt.workers }, (_, worker) => startRank(attempt, worker, context, entry, gpus[worker] ?? null));
  const stop = (): void => {
    for (const { child } of ranks) if (child.connected) child.send("stop" satisfies FromParent);
  };
  context.signal.addEventListener("abort", stop);
  if (context.signal.aborted) stop();
  // a rank that has not met the others yet hears nothing of a death, and would wait for the dead
  let siblings: NodeJS.Timeout | undefined;
  for (const { outcome } of ranks)
    void outcome.then((how) => {
      if (how instanceof Error) siblings ??= setTimeout(stop, SETTLE_MS);
    });
  try {
    const outcomes = await Promise.all(ranks.map(({ outcome }) => outcome));
    const failures = outcomes.filter((outcome) => outcome instanceof Error);
    return (
      failures.find((failure) => judge(failure) === "fatal") ??
      // a rank that died says more than those that lost it
      failures.find((failure) => failure instanceof WorkerDiedError) ??
      failures.find((failure) => !isTold(failure)) ??
      failures.find((failure) => failure instanceof PeerLostError) ??
      failures[0] ??
      // all have saved, because one was asked to stop
      (outcomes.every((outcome) => !(outcome instanceof Error) && outcome.status === "finished")
        ? null
        : new StoppedError("a worker was stopped"))
    );
  } finally {
    clearTimeout(siblings);
    context.signal.removeEventListener("abort", stop);
  }
}

/** A rank's process, and how its part ended. */
interface RankProcess {
  readonly child: ChildProcess;
  readonly outcome: Promise<RankResult | Error>;
}

function startRank(attempt: TrainAttempt, worker: number, context: StageContext, entry: string, gpu: Gpu | null): RankProcess {
  const child = fork(entry, [], {
    env: { ...process.env, ...MALLOC_SETTINGS, ...deviceVariables(gpu) },
    execArgv: ["--enable-source-maps"],
  });
  child.send({ attempt, worker } satisfies FromParent);
  let said: RankResult | Error | null = null;
  let silence = 0;
  child.on("message", (message: ToParent) => {
    silence = 0;
    switch (message.kind) {
      case "alive":
        return;
      case "progress":
        if (worker === 0) context.progress(message.progress);
        return;
      case "result":
        said = message.result;
        return;
      case "failed":
        said = errorNamed(message.name, message.message);
        return;
    }
  });
  const who = `worker ${worker} of ${attempt.workers}`;
  const beat = setInterval(() => {
    if (++silence <= SILENT_BEATS) return;
    said ??= new WorkerDiedError(`${who} was frozen: it said nothing for ${SILENT_BEATS} s`);
    child.kill("SIGKILL");
  }, BEAT_MS);
  const outcome = new Promise<RankResult | Error>((resolve) => {
    // a process that could not be started, or to which nothing can be said any more: its end says the rest, where it had begun
    child.on("error", (error) => {
      if (child.pid === undefined) resolve(new WorkerDiedError(`${who} did not start: ${error.message}`));
    });
    child.on("exit", (code, signal) => resolve(said ?? new WorkerDiedError(`${who} died (${signal ?? `exit code ${code}`})`)));
  });
  void outcome.then(() => clearInterval(beat));
  return { child, outcome };
}
