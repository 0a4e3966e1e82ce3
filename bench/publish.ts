import { randomFillSync } from "node:crypto";
import { mkdir, open, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { UserError } from "../core/errors.js";
import { startS3 } from "../infra/servers/start.js";
import { showClients, timed, type ClientFigures } from "./download.js";
import { short } from "./figures.js";

/** Compares uploads of one large file to an S3 server on this machine with those of other clients: whole processes, in turns. */

const MIB = 2 ** 20;
const BUCKET = "roslin";

/** Arguments of the other clients, by their names. */
const PEERS: Readonly<Record<string, (endpoint: string, file: string, uri: string) => readonly string[]>> = {
  aws: (endpoint, file, uri) => ["s3", "cp", "--only-show-errors", "--endpoint-url", endpoint, file, uri],
  s5cmd: (endpoint, file, uri) => ["--log", "error", "--endpoint-url", endpoint, "cp", file, uri],
};

/** All clients' uploads of one file, ours first. */
export interface PublishFigures {
  readonly bytes: number;
  readonly clients: readonly ClientFigures[];
}

/**
 * Uploads a file of `gib` GiB with each client in turn, every time to an empty server. `peers`: aws, s5cmd, or their paths.
 * Throws UserError if a client is unknown or fails.
 */
export async function benchPublish(
  options: { readonly gib: number; readonly rounds: number; readonly peers: readonly string[] },
  variables: Readonly<Record<string, string | undefined>>,
  tools: string,
  root: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<PublishFigures> {
  const commands = options.peers.map((peer) => {
    const args = PEERS[basename(peer)];
    if (args === undefined)
      throw new UserError("there is no such peer", { field: "--against", expected: Object.keys(PEERS).join(" "), got: peer });
    return {
      name: basename(peer),
      command: (endpoint: string, file: string, uri: string) => [peer, ...args(endpoint, file, uri)] as const,
    };
  });
  const child = join(import.meta.dirname, "publish-child.js");
  const ours = {
    name: "roslin",
    command: (endpoint: string, file: string, uri: string) => [process.execPath, child, endpoint, file, uri] as const,
  };
  const clients = [ours, ...commands];
  const runs = clients.map(({ name }) => ({ name, seconds: [] as number[], memory: 0 }));
  const file = join(root, "model.safetensors");
  say("making a file");
  await makeNoise(file, options.gib * 1024);
  for (let round = 1; round <= options.rounds; round++)
    for (const [index, { name, command }] of clients.entries()) {
      const home = join(root, "server");
      await mkdir(home);
      const server = await startS3({ home, tools, bucket: BUCKET, variables, signal });
      try {
        const kept = Object.entries(variables).filter(([variable]) => !variable.startsWith("AWS_"));
        const env = {
          ...Object.fromEntries(kept),
          AWS_ENDPOINT_URL_S3: server.endpoint,
          AWS_REGION: server.region,
          AWS_ACCESS_KEY_ID: server.accessKeyId,
          AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
          AWS_CONFIG_FILE: "/dev/null",
          AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
        };
        const { seconds, memory } = await timed(command(server.endpoint, file, `s3://${BUCKET}/models/model.safetensors`), env, signal);
        runs[index]!.seconds.push(seconds);
        runs[index]!.memory = Math.max(runs[index]!.memory, memory);
        say(`round ${round}: ${name} ${short(seconds)} s`);
      } finally {
        await server.stop();
        await rm(home, { recursive: true, force: true });
      }
    }
  return { bytes: options.gib * 1024 * MIB, clients: runs };
}

/** Makes a file of random bytes, so that no two mebibytes are equal. */
async function makeNoise(path: string, mebibytes: number): Promise<void> {
  const block = Buffer.alloc(MIB);
  const file = await open(path, "w");
  for (let index = 0; index < mebibytes; index++) await file.write(randomFillSync(block));
  await file.close();
}

/** The figures as a table. */
export function showPublish({ bytes, clients }: PublishFigures): string {
  return showClients("1 file", bytes, clients);
}
