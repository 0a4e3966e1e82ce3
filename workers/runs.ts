import type { Client } from "@temporalio/client";
import { arrayFromPayloads, defaultPayloadConverter } from "@temporalio/common";
import { parseRunConfig, type RunConfig } from "../core/config/schema.js";
import { ConfigError } from "../core/errors.js";
import { FINETUNE } from "../workflows/contract.js";

/**
 * Configs of the runs whose work may be needed again: those that run, those that ended before they were done, the last one
 * that was done, from which the next one begins, and those that schedules start.
 */
export async function runsThatMayGoOn(client: Client): Promise<RunConfig[]> {
  const configs: RunConfig[] = [];
  let done = false;
  for await (const run of client.workflow.list({ query: `WorkflowType = '${FINETUNE}'` })) {
    const { name } = run.status;
    if (name === "CONTINUED_AS_NEW" || (name === "COMPLETED" && done)) continue;
    done ||= name === "COMPLETED";
    add(configs, await inputOf(client, run.workflowId, run.runId));
  }
  for await (const { scheduleId } of client.schedule.list()) {
    const { action } = await client.schedule.getHandle(scheduleId).describe();
    if (action.type === "startWorkflow" && action.workflowType === FINETUNE) add(configs, action.args?.[0]);
  }
  return configs;
}

/** Hours for which a failed run's upload waits for the next try of the same, such as after its credentials were renewed. */
const UPLOAD_WAITS_HOURS = 24;

/** Configs of the runs that will go on with what they have half uploaded: those that run, and those that failed not long ago. */
export async function runsThatUpload(client: Client): Promise<RunConfig[]> {
  const since = new Date(Date.now() - UPLOAD_WAITS_HOURS * 3_600_000).toISOString();
  const query = `WorkflowType = '${FINETUNE}' AND (ExecutionStatus = 'Running' OR (ExecutionStatus = 'Failed' AND CloseTime > '${since}'))`;
  const configs: RunConfig[] = [];
  for await (const run of client.workflow.list({ query })) add(configs, await inputOf(client, run.workflowId, run.runId));
  return configs;
}

/** A run whose input is wrong never had any work. */
function add(configs: RunConfig[], input: unknown): void {
  try {
    configs.push(parseRunConfig(input));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
  }
}

/** A run's argument, from the first event of its history. */
async function inputOf(client: Client, workflowId: string, runId: string): Promise<unknown> {
  const { history } = await client.workflowService.getWorkflowExecutionHistory({
    namespace: client.options.namespace,
    execution: { workflowId, runId },
    maximumPageSize: 1,
  });
  const payloads = history?.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads;
  return arrayFromPayloads(defaultPayloadConverter, payloads)?.[0];
}
