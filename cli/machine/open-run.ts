import { existsSync } from "node:fs";
import { withClient } from "../../workers/client.js";
import type { Environment } from "../../workers/environment.js";
import { runInDirectory, runOfWorkflow, storyOf } from "../../workers/find-run.js";
import type { ReportStory } from "../../activities/report/story.js";
import { temporalVariables } from "./server-variables.js";

/** How a run is named at the command line, as usages say it. */
export const RUN_WORDS = "RUN: a run's workflow id, or the stages' --dir";

/** The story of a run as it is now: of the stages in a directory, or of a workflow. Throws UserError if there is none. */
export async function openRun(run: string, environment: Environment): Promise<ReportStory> {
  if (existsSync(run)) return storyOf(await runInDirectory(run), environment);
  const variables = await temporalVariables(environment);
  return withClient(variables, async (client) => storyOf(await runOfWorkflow(client, run, environment), { ...environment, variables }));
}
