import { parseArgs } from "node:util";
import {
  ApplicationFailure,
  WithStartWorkflowOperation,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  type Client,
} from "@temporalio/client";
import { UserError } from "../../core/errors.js";
import { parseOverride, type Override, type OverrideRequest } from "../../core/stages/override.js";
import { resultNamed } from "../../core/stages/results.js";
import { withClient } from "../../workers/client.js";
import { runInput } from "../../workers/runs.js";
import { FINETUNE, TASK_QUEUE, UPDATES, type FinetuneResult } from "../../workflows/contract.js";
import { temporalVariables } from "../machine/server-variables.js";
import { onlyId, type Command } from "../shell/command.js";
import { watchRun } from "../show/watch-run.js";

/** `roslin override`: publish as the latest model although the gate was not passed. */
export const override: Command = {
  name: "override",
  summary: "let latest.json name a run's model although the gate was not passed; name and reason are published with it",
  usage: "override RUN --by NAME --reason TEXT",
  async run(args, environment) {
    const { positionals, values } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { by: { type: "string" }, reason: { type: "string" } },
    });
    const id = onlyId(positionals, "roslin list");
    if (values.by === undefined || values.reason === undefined)
      throw new UserError("an override needs --by NAME and --reason TEXT: both are published with the model");
    const asked = parseOverride({ by: values.by, reason: values.reason });
    return withClient(await temporalVariables(environment), (client) => overrideRun(client, id, asked));
  },
};

/** Overrides the gate of a run that runs, or of one that was kept from latest.json by it, which is started again: all that it has done is reused. Resolves to the exit code. */
export async function overrideRun(client: Client, workflowId: string, asked: OverrideRequest): Promise<number> {
  const handle = client.workflow.getHandle(workflowId);
  const { status, runId } = await handle.describe().catch((error: unknown) => {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
    throw new UserError("there is no run with this id: roslin list shows the runs", { id: workflowId });
  });
  const runs = status.name === "RUNNING";
  if (!runs) await checkEnded(client, workflowId, runId, status.name);
  const startWorkflowOperation = new WithStartWorkflowOperation(FINETUNE, {
    workflowId,
    taskQueue: TASK_QUEUE,
    args: [await runInput(client, { workflowId, runId })],
    // should it end at this very moment, it is started again
    workflowIdConflictPolicy: "USE_EXISTING",
  });
  try {
    const made = await client.workflow.executeUpdateWithStart<(input: unknown) => Promise<FinetuneResult>, Override, [OverrideRequest]>(
      UPDATES.overrideGate,
      { args: [asked], startWorkflowOperation },
    );
    console.error(
      `roslin: overridden by ${made.by}; ${runs ? "the run goes on" : "the run was started again, and reuses what it has done"}`,
    );
  } catch (error) {
    if (!(error instanceof WorkflowUpdateFailedError)) throw error;
    const { cause } = error;
    throw new UserError(cause instanceof ApplicationFailure ? cause.message : error.message, { id: workflowId });
  }
  return runs ? 0 : await watchRun(client, workflowId);
}

/** Throws UserError unless a run that has ended was kept from latest.json by its gate alone: any other would begin with work that nobody asked for. */
async function checkEnded(client: Client, workflowId: string, runId: string, status: string): Promise<void> {
  if (status !== "COMPLETED")
    throw new UserError("there is no gate to override: this run ended before its model was published. roslin start runs it again", {
      id: workflowId,
      status,
    });
  const { published, stages } = (await client.workflow.getHandle(workflowId, runId).result()) as FinetuneResult;
  if (published === true)
    throw new UserError("there is nothing to override: latest.json named the model when this run ended", { id: workflowId });
  const { gate, override: made } = resultNamed(stages, "publish")?.metrics ?? {};
  if (gate?.passed !== false || made !== undefined)
    throw new UserError("there is nothing to override: another reason than the gate kept latest.json where it was", { id: workflowId });
}
