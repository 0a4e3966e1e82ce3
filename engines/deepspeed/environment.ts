import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../../core/errors.js";

/** DeepSpeed's Python environment below ROSLIN_HOME. */

/** What the environment holds, as it said itself after it was made. */
export interface EngineVersions {
  readonly python: string;
  readonly torch: string;
  readonly deepspeed: string;
  readonly transformers: string;
}

/** An environment that is ready. */
export interface EngineEnvironment {
  /** path of its Python */
  readonly python: string;
  readonly versions: EngineVersions;
}

/** The environment of a checkout, for training with it. Throws UserError with the command that makes it. */
export async function needEnvironment(_checkout: string, home: string): Promise<EngineEnvironment> {
  const directory = join(home, "engines", "deepspeed");
  const names = existsSync(directory) ? readdirSync(directory).sort() : [];
  const name = names.find((each) => existsSync(join(directory, each, "versions.json")));
  if (name === undefined) throw new UserError("DeepSpeed is not set up on this machine: call roslin setup --deepspeed", { home });
  const versions = JSON.parse(readFileSync(join(directory, name, "versions.json"), "utf8")) as EngineVersions;
  return { python: join(directory, name, "bin", "python"), versions };
}
