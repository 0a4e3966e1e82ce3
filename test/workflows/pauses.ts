import { setTimeout as sleep } from "node:timers/promises";
import type { WorkflowHandle } from "@temporalio/client";
import { inActivity } from "../../workers/context.js";
import { QUERIES, type RunProgress } from "../../workflows/contract.js";
import { ask } from "./place.js";

/** What the tests of pauses share. */

/** Waits until it holds. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(100);
}

/** How far a run says it is. */
export function progressOf(run: WorkflowHandle): Promise<RunProgress> {
  return ask<RunProgress>(run, QUERIES.progress);
}

/** Works until it is told to stop, then counts what it saved. */
export function work(): { running: number; saved: number; untilTold: () => Promise<never> } {
  const counts = {
    running: 0,
    saved: 0,
    untilTold: () =>
      inActivity(async ({ signal }) => {
        counts.running++;
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        counts.saved++;
        counts.running--;
        throw signal.reason;
      }),
  };
  return counts;
}

/** Attempts that go on from where the last one stopped. */
export function generations(): {
  begin: () => Promise<{ attempt: { generation: number; workers: number; resumeStep: number; totalSteps: number } }>;
} {
  let generation = 0;
  return {
    begin: async () => ({ attempt: { generation: ++generation, workers: 2, resumeStep: generation === 1 ? 0 : 2, totalSteps: 4 } }),
  };
}
