import { Client, Connection } from "@temporalio/client";
import { loadClientConnectConfig } from "@temporalio/envconfig";
import { messageOf, UserError } from "../core/errors.js";
import { interfaceAddress, ownAddress } from "../infra/process/own-address.js";
import type { Environment } from "./environment.js";
import { dataConverterOf } from "./payload-codec.js";

const DEFAULT_ADDRESS = "localhost:7233";

/** How to reach the server that TEMPORAL_* or a profile names, and how to write payloads. Throws UserError for a wrong key of payloads. */
export function temporalSettings(variables: Readonly<Record<string, string | undefined>>) {
  const overrideEnvVars = Object.fromEntries(
    Object.entries(variables).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const { connectionOptions, namespace = "default" } = loadClientConnectConfig({ overrideEnvVars });
  return { connectionOptions, namespace, ...dataConverterOf(variables) };
}

/**
 * The IP address at which other machines reach this one: ROSLIN_ADDRESS, or that by which it reaches the Temporal server.
 * Throws UserError if ROSLIN_ADDRESS is another machine's.
 */
export async function workerAddress({ address, variables }: Pick<Environment, "address" | "variables">): Promise<string> {
  if (address !== null) return await interfaceAddress(address);
  return await ownAddress(temporalSettings(variables).connectionOptions.address ?? DEFAULT_ADDRESS);
}

/**
 * Connects to the server that the variables or a profile name, and runs `work` with its client. Throws UserError when it
 * does not answer.
 */
export async function withClient<T>(
  variables: Readonly<Record<string, string | undefined>>,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const { connectionOptions, ...options } = temporalSettings(variables);
  const { address = DEFAULT_ADDRESS } = connectionOptions;
  // without this, gRPC would ask the proxy of https_proxy even for a server on this machine
  const direct = /^(localhost|127\.0\.0\.1|\[::1\]):/.test(address) ? { channelArgs: { "grpc.enable_http_proxy": 0 } } : {};
  let connection: Connection;
  try {
    connection = await Connection.connect({ ...connectionOptions, ...direct });
  } catch (error) {
    throw new UserError(`Temporal does not answer: ${messageOf(error)}`, { address });
  }
  try {
    return await work(new Client({ connection, ...options }));
  } finally {
    await connection.close();
  }
}
