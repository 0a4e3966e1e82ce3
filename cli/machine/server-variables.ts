import { join } from "node:path";
import { UserError } from "../../core/errors.js";
import type { Environment } from "../../workers/environment.js";
import { runningState, type UpState } from "./up-state.js";

/**
 * The variables with which the SDKs' own loaders reach the servers of this home: those of the environment, where local
 * servers replace all variables of Temporal and AWS. A user's settings for another server must not leak into them.
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

/** The variables with which a client on this machine reaches Temporal: an external server, or the one of the running `up`. Throws UserError if there is neither. */
export async function temporalVariables(environment: Environment): Promise<Readonly<Record<string, string | undefined>>> {
  if (environment.externalTemporal) return environment.variables;
  const state = await runningState(environment.home);
  if (state === null || state.temporal === null)
    throw new UserError("no Temporal server runs here: call roslin up first, or set TEMPORAL_ADDRESS", { home: environment.home });
  return serverVariables(environment, state);
}
