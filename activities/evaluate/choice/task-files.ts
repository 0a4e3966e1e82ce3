import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { isTaskFile } from "../../../core/config/evaluate.js";
import { parseRunConfig, type RunConfig } from "../../../core/config/schema.js";
import { messageOf, UserError } from "../../../core/errors.js";

/** A config with the descriptions themselves in place of the files that hold them. Throws UserError that names the file and what is wrong in it. */
export async function withTaskFiles(config: RunConfig): Promise<RunConfig> {
  const { tasks } = config.evaluate;
  if (tasks === null || !tasks.names.some(isTaskFile)) return config;
  const names: unknown[] = [];
  for (const entry of tasks.names) {
    const description = isTaskFile(entry) ? await readDescription(entry) : entry;
    if (isTaskFile(entry)) withEntry(config, [description], `the task in ${entry}`, {});
    names.push(description);
  }
  return withEntry(config, names, "the tasks", tasks.data);
}

function withEntry(config: RunConfig, names: readonly unknown[], what: string, data: object): RunConfig {
  try {
    return parseRunConfig({ ...config, evaluate: { ...config.evaluate, tasks: { ...config.evaluate.tasks, names, data } } });
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`${what} cannot be used: ${error.message}`, {}, { cause: error });
  }
}

async function readDescription(uri: string): Promise<unknown> {
  try {
    const value: unknown = JSON.parse((await readFile(fileURLToPath(uri), "utf8")).replace(/^\uFEFF/, ""));
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("it is not a JSON object");
    return value;
  } catch (error) {
    throw new UserError(`the description of a task cannot be read: ${messageOf(error)}`, { file: uri }, { cause: error });
  }
}
