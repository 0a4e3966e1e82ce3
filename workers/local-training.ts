import { fork, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { beginTraining, finishTraining, noteAttempt } from "../activities/train/run/begin.js";
import { Stage, type StageContext, type StageRequest } from "../activities/common/stage.js";
import { errorNamed, FencedError, UserError } from "../core/errors.js";
import type { StageResult } from "../core/stages/stage.js";
import type { RankInput, RankReport } from "./rank-process.js";
import { trainDefinition } from "../activities/train/definition.js";
import type { TrainAttempt } from "../activities/train/log/entries.js";
import type { TrainDeps } from "../activities/train/deps.js";

/** Training without Temporal: this process starts the workers of each attempt, and the next attempt after a loss. */

/** Name of the error of a worker process that ended without a word. */
const DIED = "WorkerDiedError";
/** Attempts in a row that may end without a new checkpoint. */
const FRUITLESS_ATTEMPTS = 3;

/** How long the workers of an attempt may take to see by themselves that one is gone. */
const SETTLE_MS = 2000;

/** glibc's malloc keeps large blocks instead of giving them back and asking again: see docs/log.md. */
export const MALLOC_SETTINGS = {
  MALLOC_ARENA_MAX: "1",
  MALLOC_MMAP_THRESHOLD_: "1073741824",
  MALLOC_TRIM_THRESHOLD_: "4294967295",
  MALLOC_TOP_PAD_: "67108864",
} as const;

/** Trains on `workers` processes of this machine; an abort of the context's signal saves and throws its reason. */
export async function trainLocally(
  deps: TrainDeps,
  request: StageRequest,
  workers: number,
  context: StageContext,
): Promise<StageResult<"train">> {
  return await new Stage(trainDefinition, request).locked(context, async () => {
    let lastStep = -1;
    for (let fruitless = 0; ;) {
      context.signal.throwIfAborted();
      const begun = await beginTraining(deps, request, workers, context);
      if ("finished" in begun) return begun.finished;
      fruitless = begun.attempt.resumeStep > lastStep ? 0 : fruitless + 1;
      lastStep = begun.attempt.resumeStep;
      const lost = await runAttempt(begun.attempt, context);
      context.signal.throwIfAborted();
      if (lost === null) {
        const result = await finishTraining(deps, request, context);
        if (result !== null) return result;
      } else await noteAttempt(deps, request);
      const why = lost?.message ?? "the last checkpoint is no longer whole";
      if (fruitless + 1 >= FRUITLESS_ATTEMPTS)
        throw new Error(`training was lost ${FRUITLESS_ATTEMPTS} times after step ${lastStep} without coming to a checkpoint: ${why}`);
      context.progress({
        stage: "train",
        done: lastStep,
        total: begun.attempt.totalSteps,
        unit: "steps",
        note: `${why}; starting again from the last checkpoint`,
        lasting: true,
      });
    }
  });
}

/** Runs the workers of one attempt; null when all came to its end, else what was lost. Errors that another try can't mend are thrown. */
async function runAttempt(attempt: TrainAttempt, context: StageContext): Promise<Error | null> {
  const children = Array.from({ length: attempt.workers }, (_, worker) => start(attempt, worker, context));
  const stop = (): void => {
    for (const { child } of children) if (child.connected) child.send("stop" satisfies RankInput);
  };
  context.signal.addEventListener("abort", stop);
  if (context.signal.aborted) stop();
  // who has not met the others yet hears nothing of a death, and would wait for the dead
  let siblings: NodeJS.Timeout | undefined;
  for (const { outcome } of children)
    void outcome.then((lost) => {
      if (lost !== null) siblings ??= setTimeout(stop, SETTLE_MS);
    });
  try {
    const failures = (await Promise.all(children.map(({ outcome }) => outcome))).filter((outcome) => outcome instanceof Error);
    const final = failures.find((failure) => failure instanceof UserError || failure instanceof FencedError);
    if (final !== undefined) throw final;
    // who died says more than those who lost it
    return (
      failures.find((failure) => failure.name === DIED) ??
      failures.find((failure) => failure.name !== "PeerLostError") ??
      failures[0] ??
      null
    );
  } finally {
    clearTimeout(siblings);
    context.signal.removeEventListener("abort", stop);
  }
}

function start(attempt: TrainAttempt, worker: number, context: StageContext): { child: ChildProcess; outcome: Promise<Error | null> } {
  const child = fork(join(import.meta.dirname, "rank-process.js"), [], {
    env: { ...process.env, ...MALLOC_SETTINGS },
    execArgv: ["--enable-source-maps"],
  });
  child.send({ attempt, worker } satisfies RankInput);
  let result: Error | null | undefined;
  child.on("message", (report: RankReport) => {
    if (report.kind === "outcome") result = null;
    else if (report.kind === "failed") result = errorNamed(report.name, report.message);
    else if (worker === 0) context.progress(report.progress);
  });
  const outcome = new Promise<Error | null>((resolve) => {
    // a process that could not be started, or to which nothing can be said any more: its end says the rest, where it had begun
    child.on("error", (error) => {
      if (child.pid === undefined) resolve(errorNamed(DIED, `worker ${worker} of ${attempt.workers} did not start: ${error.message}`));
    });
    child.on("exit", (code, signal) => {
      const died = `worker ${worker} of ${attempt.workers} died (${signal ?? `exit code ${code}`})`;
      resolve(result === undefined ? errorNamed(DIED, died) : result);
    });
  });
  return { child, outcome };
}
