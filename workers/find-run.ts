import { basename, join, resolve } from "node:path";
import { WorkflowFailedError, WorkflowNotFoundError, type Client } from "@temporalio/client";
import { lastRequest } from "../activities/record/find-stages.js";
import { runStory, type RunRecord } from "../activities/record/run-story.js";
import type { ReportStory } from "../activities/report/story.js";
import { parseRunConfig, withTarget, type RunConfig } from "../core/config/schema.js";
import { ConfigError, messageOf, UserError } from "../core/errors.js";
import { fileStore } from "../infra/store/file-store.js";
import { openStore } from "../infra/store/open-store.js";
import { s3SettingsOf } from "../infra/store/s3-store.js";
import type { ObjectStore } from "../infra/store/store.js";
import type { StageInput } from "../workflows/contract.js";
import { defaultTarget } from "./artifact-deps.js";
import type { Environment } from "./environment.js";
import { begunBy } from "./runs.js";

/** The run whose stage began last below a directory. Throws UserError if none did. */
export async function runInDirectory(directory: string): Promise<RunRecord> {
  const root = resolve(directory);
  const request = await lastRequest(root);
  if (request === null)
    throw new UserError("no stage has begun here, or an earlier version of Roslin ran them: name the stages' --dir, and run one again", {
      directory: root,
    });
  return { name: basename(root), request: current(request), root, failure: null, isRunning: false };
}

/** A run by its workflow's id, with its stages below this machine's home. Throws UserError if there is no such run, or its settings are wrong. */
export async function runOfWorkflow(client: Client, id: string, environment: Environment): Promise<RunRecord> {
  const root = join(environment.home, "stages");
  try {
    const { status } = await client.workflow.getHandle(id).describe();
    const { input, begun } = await begunBy(client, id);
    const target = (config: unknown): RunConfig => withTarget(parseRunConfig(config), () => defaultTarget(environment));
    const request = begun.at(-1) ?? { config: target(input), inputs: [] };
    const isRunning = status.name === "RUNNING";
    const failure = isRunning || status.name === "COMPLETED" ? null : await failureOf(client, id, status.name);
    return { name: id, request: { ...request, config: target(request.config) }, root, failure, isRunning };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError)
      throw new UserError("there is no run with this id, and no such directory: roslin list shows the runs", { id });
    if (error instanceof ConfigError) throw new UserError(`the run never began: ${error.message}`, { id });
    throw error;
  }
}

/** What a report tells of a run now. */
export function storyOf(run: RunRecord, environment: Environment): Promise<ReportStory> {
  return runStory(run, (directory, { train }): ObjectStore => {
    const { store } = train.workers;
    return store === null ? fileStore(directory) : openStore(`${store}/${basename(directory)}`, s3SettingsOf(environment.variables));
  });
}

async function failureOf(client: Client, id: string, status: string): Promise<string> {
  try {
    await client.workflow.getHandle(id).result();
    return status.toLowerCase();
  } catch (error) {
    if (error instanceof WorkflowFailedError) return error.cause === undefined ? status.toLowerCase() : messageOf(error.cause);
    throw error;
  }
}

/** What an earlier version recorded lacks the fields that came later. */
function current(request: StageInput): StageInput {
  return { ...request, config: parseRunConfig(request.config) };
}
