import { setTimeout as sleep } from "node:timers/promises";
import { defaultPayloadConverter } from "@temporalio/common";
import {
  ApplicationFailure,
  CancelledFailure,
  WorkflowFailedError,
  type Client,
  type WorkflowExecutionDescription,
  type WorkflowHandle,
} from "@temporalio/client";
import { messageOf, NON_RETRYABLE, UserError } from "../../core/errors.js";
import type { Progress } from "../../core/stages/results.js";
import { duration } from "../../core/units.js";
import { QUERIES, type FinetuneResult, type RunProgress, type StageRow } from "../../workflows/contract.js";
import { plainPending } from "../../workers/raw-payloads.js";
import type { ProgressView } from "./progress-bars.js";

/** Milliseconds between looks at a run. */
const LOOK_MS = 400;

/** Milliseconds that a query may take: a worker that was killed doesn't answer. */
const QUERY_MS = 500;

/** The news in a run's pending activities. */
export interface Look {
  /** of the stage that is at work; in training, of the rank that is furthest */
  readonly progress: Progress | null;
  /** attempts that failed, one line each: "download: attempt 2 begins, because …" */
  readonly failures: readonly string[];
}

type PendingActivity = NonNullable<NonNullable<WorkflowExecutionDescription["raw"]["pendingActivities"]>[number]>;

/** Reads a description's pending activities. */
export function lookAt(pending: readonly PendingActivity[]): Look {
  const details = pending.flatMap(({ heartbeatDetails }) => {
    const payload = heartbeatDetails?.payloads?.[0];
    const value: unknown = payload === undefined ? null : defaultPayloadConverter.fromPayload(payload);
    if (!isProgress(value)) return [];
    // the worker's own count of failures is nothing to show
    const { attempts: _, ...progress } = value as Progress & { readonly attempts?: unknown };
    return [progress];
  });
  const failures = pending.flatMap(({ activityId, attempt, lastFailure }) =>
    (attempt ?? 1) > 1 && lastFailure != null ? [`${activityId}: attempt ${attempt} begins, because ${lastFailure.message}`] : [],
  );
  return { progress: details.toSorted((a, b) => b.done - a.done)[0] ?? null, failures };
}

function isProgress(value: unknown): value is Progress {
  return typeof value === "object" && value !== null && "stage" in value && "done" in value && "total" in value;
}

/** Shows a run until it ends; resolves to its result. Throws UserError or Error when it failed, and the signal's reason when aborted. */
export async function follow(client: Client, workflowId: string, view: ProgressView, signal: AbortSignal): Promise<FinetuneResult> {
  const handle = client.workflow.getHandle(workflowId);
  const seen = new Set<string>();
  const once = (line: string): void => {
    if (!seen.has(line)) view.line(line);
    seen.add(line);
  };
  let pause = "";
  for (;;) {
    signal.throwIfAborted();
    // a server that is being started again answers the next time
    const description = await handle.describe().catch((error: unknown) => {
      if (error instanceof Error && error.name === "WorkflowNotFoundError") throw error;
      return null;
    });
    if (description !== null && description.status.name !== "RUNNING" && description.status.name !== "CONTINUED_AS_NEW") break;
    const { progress, failures } = lookAt(await plainPending(client, description?.raw.pendingActivities ?? []));
    const told = await progressOf(client, handle);
    for (const line of [...failures, ...endedStages(told?.rows ?? [])]) once(line);
    if (told !== null && told.pause !== pause && told.pause !== "") view.line(told.pause);
    pause = told?.pause ?? pause;
    if (progress !== null) view.show(progress);
    await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
  view.end();
  try {
    const result = (await handle.result()) as FinetuneResult;
    for (const line of endedStages(result.rows)) once(line);
    return result;
  } catch (error) {
    throw error instanceof WorkflowFailedError ? failureOf(error) : error;
  }
}

/**
 * The workflow's own progress; null while no worker answers for it. No query is open when this resolves: one that is
 * repeated on a closed connection would end the process.
 */
async function progressOf(client: Client, handle: WorkflowHandle): Promise<RunProgress | null> {
  return client.withDeadline(Date.now() + QUERY_MS, () => handle.query<RunProgress>(QUERIES.progress)).catch(() => null);
}

/** One line for each stage that has ended, because some end before they report progress, and its warnings. */
export function endedStages(rows: readonly StageRow[]): string[] {
  return rows.flatMap(({ stage, state, seconds, warnings = [] }) => {
    const name = stage.padEnd(10);
    if (state !== "done" && state !== "reused") return [];
    return [`${name} ${state} in ${duration(seconds ?? 0)}`, ...warnings.map((warning) => `${name} ${warning}`)];
  });
}

/** The error for a failed run, as if it had failed in this process. */
function failureOf(error: WorkflowFailedError): Error {
  const { cause } = error;
  if (cause instanceof ApplicationFailure && NON_RETRYABLE.includes(cause.type ?? "")) return new UserError(cause.message);
  if (cause instanceof CancelledFailure) return new Error("the run was cancelled");
  return new Error(`the run failed: ${messageOf(cause ?? error)}`);
}
