import { WorkflowNotFoundError, type Client } from "@temporalio/client";
import { UserError } from "../../core/errors.js";
import { resultNamed } from "../../core/stages/results.js";
import { latestStays } from "../../core/stages/words.js";
import type { FinetuneResult } from "../../workflows/contract.js";
import { goodputLines } from "./goodput.js";
import { follow } from "./follow.js";
import { Interrupted, untilInterrupted } from "../shell/interrupt.js";
import { duration } from "../../core/units.js";
import { progressView } from "./progress-bars.js";

/** Shows a run until it ends, and then its result; an interrupt ends only the showing. Resolves to the exit code. */
export async function watchRun(client: Client, workflowId: string): Promise<number> {
  const view = progressView(process.stderr);
  try {
    console.log(outcome(await untilInterrupted((signal) => follow(client, workflowId, view, signal))));
    return 0;
  } catch (error) {
    view.end();
    if (error instanceof WorkflowNotFoundError)
      throw new UserError("there is no run with this id: roslin list shows the runs", { id: workflowId });
    if (!(error instanceof Interrupted)) throw error;
    console.error(`roslin: the run goes on; roslin watch ${workflowId} shows it again, roslin cancel ${workflowId} ends it`);
    return 1;
  }
}

/** A finished run in a few lines. */
export function outcome({ rows, stages, published: isLatest, reason }: FinetuneResult): string {
  const published = stages.flatMap(({ stage, outputs }) => (stage === "publish" ? outputs.filter(({ name }) => name === "published") : []));
  return [
    ...rows.map(
      ({ stage, state, seconds, note }) => `${stage.padEnd(10)} ${state.padEnd(6)} ${duration(seconds ?? 0).padStart(8)}  ${note}`,
    ),
    ...stages.flatMap(goodputLines),
    ...published.map(({ uri }) => `${isLatest === false ? "beside    " : "published "} ${uri}`),
    ...(isLatest === false ? [`${latestStays(reason)}${overrideHint(stages)}`] : []),
  ].join("\n");
}

/** What a person can do about a gate that was not passed. */
function overrideHint(stages: FinetuneResult["stages"]): string {
  return resultNamed(stages, "publish")?.metrics.gate?.passed === false
    ? "; a person may override it: roslin override RUN --by NAME --reason TEXT"
    : "";
}
