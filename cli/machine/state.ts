import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../core/errors.js";
import { writeFileAtomic } from "../../infra/disk/files.js";
import type { S3Access } from "../../infra/servers/s3-server.js";
import { isAlive, type ProcessId } from "../../infra/servers/service.js";
import type { Environment } from "../../workers/environment.js";

/** What `roslin up` tells others, and the next `up`, about what runs in a home: `<home>/up.json`. */
export interface UpState {
  readonly supervisor: ProcessId;
  /** the local Temporal server; null when an external one is used */
  readonly temporal: { readonly address: string; readonly uiAddress: string } | null;
  /** the local S3 server, its keys among the rest: the file is readable by its owner alone; null when an external one is used */
  readonly s3: S3Access | null;
  readonly processes: readonly (ProcessId & { readonly name: string; readonly restarts: number })[];
}

/** The state that the last `up` left, whether or not it still runs; null when there is none. */
export async function readState(home: string): Promise<UpState | null> {
  try {
    return JSON.parse(await readFile(stateFile(home), "utf8")) as UpState;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** The state of an `up` whose supervisor is alive; null when none is. */
export async function runningState(home: string): Promise<UpState | null> {
  const state = await readState(home);
  return state !== null && isAlive(state.supervisor) ? state : null;
}

/** Writes the state whole or not at all. */
export async function writeState(home: string, state: UpState): Promise<void> {
  await writeFileAtomic(stateFile(home), JSON.stringify(state, null, 1), 0o600);
}

/** Where a home's state lies. */
export function stateFile(home: string): string {
  return join(home, "up.json");
}

/**
 * The variables with which the SDKs' own loaders reach the servers of this home: those of the environment, with local
 * servers in the place of what it says of Temporal and AWS. A user's settings for another server must not leak into them.
 */
export function serverVariables(
  environment: Pick<Environment, "variables" | "home">,
  servers: Pick<UpState, "temporal" | "s3">,
): Record<string, string | undefined> {
  const variables = { ...environment.variables };
  const drop = (prefix: string): void => {
    for (const name of Object.keys(variables)) if (name.startsWith(prefix)) delete variables[name];
  };
  if (servers.temporal !== null) {
    drop("TEMPORAL_");
    variables["TEMPORAL_ADDRESS"] = servers.temporal.address;
    variables["TEMPORAL_NAMESPACE"] = "default";
    // a file that isn't there has no profile in it; an empty one is an error
    variables["TEMPORAL_CONFIG_FILE"] = join(environment.home, "no-profile.toml");
  }
  if (servers.s3 !== null) {
    drop("AWS_");
    variables["AWS_ENDPOINT_URL_S3"] = servers.s3.endpoint;
    variables["AWS_REGION"] = servers.s3.region;
    variables["AWS_ACCESS_KEY_ID"] = servers.s3.accessKeyId;
    variables["AWS_SECRET_ACCESS_KEY"] = servers.s3.secretAccessKey;
    variables["AWS_CONFIG_FILE"] = "/dev/null";
    variables["AWS_SHARED_CREDENTIALS_FILE"] = "/dev/null";
  }
  return variables;
}

/** The variables with which a client on this machine reaches Temporal: an external server, or that of the running `up`. Throws UserError when there is neither. */
export async function temporalVariables(environment: Environment): Promise<Readonly<Record<string, string | undefined>>> {
  if (environment.externalTemporal) return environment.variables;
  const state = await runningState(environment.home);
  if (state === null || state.temporal === null)
    throw new UserError("no Temporal server runs here: call roslin up first, or set TEMPORAL_ADDRESS", { home: environment.home });
  return serverVariables(environment, state);
}
