import { messageOf, UserError } from "../core/errors.js";
import { FINETUNE } from "../workflows/contract.js";
import { withClient } from "./client.js";
import { CHECKOUT, readEnvironment } from "./environment.js";
import { runOfWorkflow, storyOf } from "./find-run.js";
import { reportPage } from "../activities/report/report-page.js";
import { servePages, type RunLine } from "./serve-pages.js";

/** Serves a page about each run on this machine, made when it is asked for. */

/** Runs that the list has at most. */
const LISTED = 100;

async function main(): Promise<void> {
  const environment = readEnvironment(process.env, CHECKOUT);
  if (environment.reports === null) throw new UserError("ROSLIN_REPORTS names no address: roslin up sets it");
  const server = await servePages(environment.reports, {
    runs: () =>
      withClient(environment.variables, async (client) => {
        const runs: RunLine[] = [];
        for await (const { workflowId, status, startTime } of client.workflow.list({ query: `WorkflowType = '${FINETUNE}'` })) {
          // a run that was continued as new, or started again, is listed once: its newest
          if (!runs.some(({ id }) => id === workflowId))
            runs.push({ id: workflowId, state: status.name.toLowerCase().replaceAll("_", " "), started: startTime.toISOString() });
          if (runs.length === LISTED) break;
        }
        return runs;
      }),
    page: (id) =>
      withClient(environment.variables, async (client) =>
        reportPage(await storyOf(await runOfWorkflow(client, id, environment), environment)),
      ),
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.once(signal, () => {
      server.close();
      process.exit(0);
    });
}

try {
  await main();
} catch (error) {
  console.error(`report server: ${messageOf(error)}`);
  process.exit(error instanceof UserError ? 2 : 1);
}
