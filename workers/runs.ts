import type { Client, WorkflowExecutionInfo } from "@temporalio/client";
import type { KeptRun } from "../activities/cleanup/garbage.js";
import { parseRunConfig, withTarget, type RunConfig } from "../core/config/schema.js";
import { ConfigError } from "../core/errors.js";
import { inputsFrom } from "../core/stages/results.js";
import { FINETUNE, type PipelineActivities, type StageInput } from "../workflows/contract.js";
import type { Carried } from "../workflows/finetune.js";
import { defaultTarget } from "./artifact-deps.js";
import type { Environment } from "./environment.js";
import { decodedPayloads } from "./raw-payloads.js";

/**
 * The runs whose work may be needed again: those that run, those that ended before they were done, the last one that was
 * done, from which the next one begins, and those that schedules start.
 */
export async function runsThatMayGoOn(client: Client, environment: Environment): Promise<KeptRun[]> {
  const runs: KeptRun[] = [];
  let done = false;
  for await (const run of client.workflow.list({ query: `WorkflowType = '${FINETUNE}'` })) {
    const { name } = run.status;
    if (name === "CONTINUED_AS_NEW" || (name === "COMPLETED" && done)) continue;
    done ||= name === "COMPLETED";
    runs.push(...(await keptRun(client, run, environment)));
  }
  for await (const { scheduleId } of client.schedule.list()) {
    const { action } = await client.schedule.getHandle(scheduleId).describe();
    if (action.type === "startWorkflow" && action.workflowType === FINETUNE) runs.push(...runOf(action.args?.[0], null, environment));
  }
  return runs;
}

/** Hours for which a failed run's upload waits for the next try of the same, such as after its credentials were renewed. */
const UPLOAD_WAITS_HOURS = 24;

/** The runs that will go on with what they have half uploaded: those that run, and those that failed not long ago. */
export async function runsThatUpload(client: Client, environment: Environment): Promise<KeptRun[]> {
  const since = new Date(Date.now() - UPLOAD_WAITS_HOURS * 3_600_000).toISOString();
  const query = `WorkflowType = '${FINETUNE}' AND (CloseTime IS NULL OR (ExecutionStatus = 'Failed' AND CloseTime > '${since}'))`;
  const runs: KeptRun[] = [];
  for await (const run of client.workflow.list({ query })) runs.push(...(await keptRun(client, run, environment)));
  return runs;
}

/** The activities that are given what the earlier stages left, one of each stage. */
const GIVEN: readonly string[] = ["download", "preprocess", "beginTraining", "evaluate", "publish"] satisfies (keyof PipelineActivities)[];

/** What a run was started with. */
export async function runInput(client: Client, execution: { readonly workflowId: string; readonly runId: string }): Promise<unknown> {
  const { history } = await client.workflowService.getWorkflowExecutionHistory({
    namespace: client.options.namespace,
    execution,
    maximumPageSize: 1,
  });
  return (await decodedPayloads(client, history?.events?.[0]?.workflowExecutionStartedEventAttributes?.input))[0];
}

/** A run as its history tells of it; nothing where its input is wrong. */
async function keptRun(
  client: Client,
  { workflowId, runId, closeTime }: WorkflowExecutionInfo,
  environment: Environment,
): Promise<KeptRun[]> {
  if (closeTime !== undefined) return runOf(await runInput(client, { workflowId, runId }), null, environment);
  const { input, begun } = await begunBy(client, workflowId, runId);
  return runOf(input, begun, environment);
}

/** What a run was started with, and what its stages were given so far, the last one last. `runId`: absent, the newest of the id. */
export async function begunBy(
  client: Client,
  workflowId: string,
  runId?: string,
): Promise<{ readonly input: unknown; readonly begun: readonly StageInput[] }> {
  const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
  const started = history.events?.[0]?.workflowExecutionStartedEventAttributes;
  const [input, carried] = (await decodedPayloads(client, started?.input)) as [unknown, Carried?];
  const before = carried === undefined ? [] : [{ config: carried.plan.config, inputs: inputsFrom(carried.results) }];
  const given: StageInput[] = [];
  for (const { activityTaskScheduledEventAttributes: scheduled } of history.events ?? [])
    if (GIVEN.includes(scheduled?.activityType?.name ?? "")) given.push((await decodedPayloads(client, scheduled!.input))[0] as StageInput);
  return { input, begun: [...before, ...given] };
}

function runOf(input: unknown, begun: KeptRun["begun"], environment: Environment): KeptRun[] {
  try {
    // what an earlier version planned lacks the fields that came later
    const placed = (config: unknown): RunConfig => withTarget(parseRunConfig(config), () => defaultTarget(environment));
    return [{ config: placed(input), begun: begun?.map(({ config, inputs }) => ({ config: placed(config), inputs })) ?? null }];
  } catch (error) {
    // it never had any work
    if (error instanceof ConfigError) return [];
    throw error;
  }
}
