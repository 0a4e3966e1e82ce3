import { Client, Connection } from "@temporalio/client";
import { loadClientConnectConfig } from "@temporalio/envconfig";
import { messageOf, UserError } from "../core/errors.js";

/** How to reach the server that TEMPORAL_* or a profile names. */
export function temporalSettings(variables: Readonly<Record<string, string | undefined>>) {
  const overrideEnvVars = Object.fromEntries(
    Object.entries(variables).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const { connectionOptions, namespace = "default" } = loadClientConnectConfig({ overrideEnvVars });
  return { connectionOptions, namespace };
}

/** Connects to the server that the variables or a profile name, and runs `work` with a client of it. Throws UserError when nothing answers there. */
export async function withClient<T>(
  variables: Readonly<Record<string, string | undefined>>,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const { connectionOptions, namespace } = temporalSettings(variables);
  let connection: Connection;
  try {
    connection = await Connection.connect(connectionOptions);
  } catch (error) {
    throw new UserError(`Temporal does not answer: ${messageOf(error)}`, { address: connectionOptions.address ?? "localhost:7233" });
  }
  try {
    return await work(new Client({ connection, namespace }));
  } finally {
    await connection.close();
  }
}
