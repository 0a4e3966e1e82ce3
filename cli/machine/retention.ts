import type { Client } from "@temporalio/client";
import { msToTs, tsToMs } from "@temporalio/common/lib/time.js";

/** Seconds for which Temporal's dev server remembers a run that is over, unless told otherwise. */
const SERVERS_OWN = 24 * 3600;

/** Seconds for which the server remembers a run that is over: after that no command knows of it. */
export async function retentionOf({ workflowService, options: { namespace } }: Client): Promise<number> {
  const { config } = await workflowService.describeNamespace({ namespace });
  return tsToMs(config?.workflowExecutionRetentionTtl) / 1000;
}

/** Lets a local server remember runs for a year, so that one which failed on Friday is known on Monday; what somebody has set stays. */
export async function rememberRuns(client: Client): Promise<void> {
  if ((await retentionOf(client)) !== SERVERS_OWN) return;
  const { workflowService, options } = client;
  await workflowService.updateNamespace({ namespace: options.namespace, config: { workflowExecutionRetentionTtl: msToTs("365 days") } });
}
