import type { Client } from "@temporalio/client";
import { msToTs, tsToMs } from "@temporalio/common/lib/time.js";

/** Seconds that Temporal's dev server keeps a finished run by default. */
const SERVERS_OWN = 24 * 3600;

/** Seconds that the server keeps a finished run: after that no command knows of it. */
export async function retentionOf({ workflowService, options: { namespace } }: Client): Promise<number> {
  const { config } = await workflowService.describeNamespace({ namespace });
  return tsToMs(config?.workflowExecutionRetentionTtl) / 1000;
}

/** Lets a local server keep finished runs for a year, so that one that failed on Friday is known on Monday; a time that the user has set stays. */
export async function rememberRuns(client: Client): Promise<void> {
  if ((await retentionOf(client)) !== SERVERS_OWN) return;
  const { workflowService, options } = client;
  await workflowService.updateNamespace({ namespace: options.namespace, config: { workflowExecutionRetentionTtl: msToTs("365 days") } });
}
