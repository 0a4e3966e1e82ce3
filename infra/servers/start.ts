import { join } from "node:path";
import { makePrivateDirectory } from "../disk/private.js";
import { choosePorts, S3_PORTS, TEMPORAL_PORTS } from "./ports.js";
import { s3Server, type S3Access } from "./s3-server.js";
import { atFreePorts, launch, signalGroup, stopAll, untilReady, type Service } from "./service.js";
import { temporalServer } from "./temporal-server.js";
import { getTool, TEMPORAL, WEED } from "./tools.js";

/** Starting one server for the time of a command or a test, without supervision. */
export interface StartOptions {
  /** where the server keeps data, keys, ports and logs */
  readonly home: string;
  /** where fetched binaries are kept; default: `<home>/tools` */
  readonly tools?: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** ends the start, not the server */
  readonly signal: AbortSignal;
  readonly say?: (line: string) => void;
}

/** Starts Temporal on free ports, data in the home; resolves when it answers. */
export async function startTemporal(
  options: StartOptions & { readonly searchAttributes: Readonly<Record<string, string>> },
): Promise<{ readonly address: string; readonly uiAddress: string; stop(): Promise<void> }> {
  const { say = () => {} } = options;
  makePrivateDirectory(options.home, say);
  const binary = await getTool(TEMPORAL, places(options), say, options.signal);
  return atFreePorts(async () => {
    const { service, address, uiAddress } = temporalServer({
      ...options,
      say,
      binary,
      ports: await choosePorts(options.home, TEMPORAL_PORTS),
    });
    return { address, uiAddress, stop: await start(service, options.signal) };
  }, say);
}

/** Starts S3 on free ports, data and keys in the home; resolves when it answers and the bucket is there. */
export async function startS3(options: StartOptions & { readonly bucket: string }): Promise<S3Access & { stop(): Promise<void> }> {
  const { say = () => {} } = options;
  makePrivateDirectory(options.home, say);
  const binary = await getTool(WEED, places(options), say, options.signal);
  return atFreePorts(async () => {
    const { service, access } = s3Server({ ...options, say, binary, ports: await choosePorts(options.home, S3_PORTS) });
    return { ...access, stop: await start(service, options.signal) };
  }, say);
}

function places(options: StartOptions): { readonly directory: string; readonly variables: StartOptions["variables"] } {
  return { directory: options.tools ?? join(options.home, "tools"), variables: options.variables };
}

async function start(service: Service, signal: AbortSignal): Promise<() => Promise<void>> {
  const running = await launch(service);
  // if this process ends without stopping it, as at a second Ctrl-C, it would run for ever
  const kill = (): void => signalGroup(running.id, "SIGKILL");
  process.once("exit", kill);
  const stop = async (): Promise<void> => {
    await stopAll([running]);
    process.off("exit", kill);
  };
  try {
    await untilReady(running, signal);
  } catch (error) {
    await stop();
    throw error;
  }
  return stop;
}
