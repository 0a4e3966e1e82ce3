import { readFile } from "node:fs/promises";
import { withTaskFiles } from "../../activities/evaluate/choice/task-files.js";
import { parseRunConfig, type RunConfig } from "../../core/config/schema.js";
import { messageOf, UserError } from "../../core/errors.js";

/** Reads a RunConfig from a JSON file. Throws UserError, or ConfigError with every problem. */
export async function readConfig(path: string): Promise<RunConfig> {
  let input: unknown;
  try {
    // some editors begin a file with a byte order mark
    input = JSON.parse((await readFile(path, "utf8")).replace(/^\uFEFF/, ""));
  } catch (error) {
    throw new UserError(`the configuration cannot be read: ${messageOf(error)}`, { file: path });
  }
  return await withTaskFiles(parseRunConfig(input));
}
