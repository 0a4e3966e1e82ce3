import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { parseRunConfig, type RunConfig } from "../../core/config/schema.js";
import { messageOf, UserError } from "../../core/errors.js";
import { STAGES, type StageName } from "../../core/stage.js";


/** What the user asked of `roslin stage`. */
export interface StageCall {
  readonly name: StageName;
  readonly config: RunConfig;
  readonly directory: string;
  readonly workers: number | null;
  readonly json: boolean;
}

/** Reads the arguments of `roslin stage` and the configuration that they name. Throws UserError. */
export async function parseStageCall(args: readonly string[]): Promise<StageCall> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { config: { type: "string" }, dir: { type: "string" }, workers: { type: "string" }, json: { type: "boolean" } },
  });
  const name = STAGES.find((stage) => stage === positionals[0]);
  if (name === undefined || positionals.length > 1) throw new UserError("name one stage", { expected: STAGES.join(" "), got: positionals.join(" ") });
  if (values.config === undefined || values.dir === undefined) throw new UserError("a stage needs --config FILE and --dir DIR");
  const workers = values.workers === undefined ? null : Number(values.workers);
  if (workers !== null && !(Number.isInteger(workers) && workers >= 1)) throw new UserError("--workers must be a whole number from 1 on", { got: values.workers });
  return { name, config: await readConfig(values.config), directory: values.dir, workers, json: values.json ?? false };
}

/** Reads a RunConfig from a JSON file. Throws UserError, or ConfigError with every problem. */
export async function readConfig(path: string): Promise<RunConfig> {
  let input: unknown;
  try {
    input = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw new UserError(`the configuration cannot be read: ${messageOf(error)}`, { file: path });
  }
  return parseRunConfig(input);
}
