import { join } from "node:path";
import { parseArgs } from "node:util";
import { WorkflowExecutionAlreadyStartedError } from "@temporalio/client";
import { parseRunConfig, withTarget, type RunConfig } from "../../core/config/schema.js";
import { UserError } from "../../core/errors.js";
import { forecast } from "../../activities/forecast/forecast.js";
import { defaultTarget } from "../../workers/artifact-deps.js";
import type { Environment } from "../../workers/environment.js";
import { FINETUNE, TASK_QUEUE } from "../../workflows/contract.js";
import { withClient } from "../../workers/client.js";
import type { Command } from "../shell/command.js";
import { temporalVariables } from "../machine/server-variables.js";
import { watchRun } from "../show/watch-run.js";
import { readConfig } from "../shell/read-config.js";

/** `roslin start`: a run on the Temporal server. */
export const start: Command = {
  name: "start",
  summary: "start a run of the whole pipeline; without a configuration, Dolly's own run",
  usage: "start [--config FILE] [--id ID] [--follow]",
  async run(args, environment) {
    const { values } = parseArgs({
      args: [...args],
      options: { config: { type: "string" }, id: { type: "string" }, follow: { type: "boolean" } },
    });
    const config = values.config === undefined ? parseRunConfig(null) : await readConfig(values.config);
    const workflowId = values.id ?? `finetune-${new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-")}`;
    const variables = await temporalVariables(environment);
    // with an external server the stages may be kept on another machine; the run's own notes say what is reused
    if (!environment.externalTemporal) await tell(config, environment);
    return withClient(variables, async (client) => {
      try {
        const staticSummary = `${config.model.source} on ${config.dataset.source}`.slice(0, 200);
        await client.workflow.start(FINETUNE, { taskQueue: TASK_QUEUE, workflowId, args: [config], staticSummary });
      } catch (error) {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
        throw new UserError("a run with this id exists already: watch it, cancel it, or use another id", { id: workflowId });
      }
      console.log(workflowId);
      return values.follow === true ? watchRun(client, workflowId) : 0;
    });
  },
};

/** Says which stages the run will reuse, and why it runs the others. */
async function tell(config: RunConfig, environment: Environment): Promise<void> {
  const stages = await forecast(
    withTarget(config, () => defaultTarget(environment)),
    join(environment.home, "stages"),
  );
  for (const { stage, reused, why } of stages) console.error(`${stage.padEnd(10)} ${reused ? "is reused" : "runs     "}  ${why}`);
}
