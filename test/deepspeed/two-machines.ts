import { execFile, execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client, Connection } from "@temporalio/client";
import { startTemporal } from "../../infra/servers/start.js";
import type { S3Settings } from "../../infra/store/s3-store.js";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";
import { SEARCH_ATTRIBUTES } from "../../workflows/contract.js";
import { startTestS3 } from "../infra/store/weed.js";

/**
 * Two machines that run `roslin up` and share nothing but a Temporal server and an S3 server. Each has a network namespace of
 * its own where the system lets us make them; elsewhere they are two homes on this machine.
 */
export interface TwoMachines {
  readonly client: Client;
  /** how this process reaches the S3 server */
  readonly s3: S3Settings;
  /** whether each has a network of its own */
  readonly networks: boolean;
  /** Starts `roslin up` on a machine; resolves when its process runs. */
  up(name: string, workers: number): void;
  /** As if the power had gone: every process at once, and its network. */
  crash(name: string): void;
  home(name: string): string;
  /** What `up` and its workers said. */
  said(name: string): string;
  stop(): Promise<void>;
}

const ip = (...args: string[]): void => void execFileSync("ip", args, { stdio: "pipe" });

/** Networks by machine; null: this system makes none. */
function networks(names: readonly string[]): { readonly gateway: string; wrap(name: string): string[]; remove(): void } | null {
  const id = `r${process.pid % 10_000}`;
  const subnet = `10.${100 + (process.pid % 100)}.${Math.floor(process.pid / 100) % 250}`;
  const remove = (): void => {
    for (const [index] of names.entries())
      try {
        ip("netns", "del", `${id}-${index}`);
      } catch {
        // it was not made
      }
    try {
      ip("link", "del", `${id}b`);
    } catch {
      // as well
    }
  };
  try {
    ip("link", "add", `${id}b`, "type", "bridge");
    ip("addr", "add", `${subnet}.1/24`, "dev", `${id}b`);
    ip("link", "set", `${id}b`, "up");
    for (const [index] of names.entries()) {
      const space = `${id}-${index}`;
      ip("netns", "add", space);
      ip("link", "add", `${id}v${index}`, "type", "veth", "peer", "name", "eth0", "netns", space);
      ip("link", "set", `${id}v${index}`, "master", `${id}b`, "up");
      ip("-n", space, "addr", "add", `${subnet}.${index + 2}/24`, "dev", "eth0");
      ip("-n", space, "link", "set", "eth0", "up");
      ip("-n", space, "link", "set", "lo", "up");
    }
  } catch {
    remove();
    return null;
  }
  return { gateway: `${subnet}.1`, wrap: (name) => ["ip", "netns", "exec", `${id}-${names.indexOf(name)}`], remove };
}

/** Lets a port of this machine be reached at another of its addresses, too. */
async function forward(host: string, to: { readonly host: string; readonly port: number }): Promise<Server & { readonly port: number }> {
  const server = createServer((socket) => {
    const other = connect(to);
    for (const each of [socket, other]) each.on("error", () => undefined);
    socket.on("close", () => other.destroy()).pipe(other);
    other.on("close", () => socket.destroy()).pipe(socket);
  });
  await once(server.listen(0, host), "listening");
  return Object.assign(server, { port: (server.address() as AddressInfo).port });
}

/** Starts both servers; no machine is up yet. */
export async function startTwoMachines(names: readonly string[]): Promise<TwoMachines> {
  const root = mkdtempSync(join(tmpdir(), "roslin-two-"));
  const usual = readEnvironment(process.env, CHECKOUT);
  const temporal = await startTemporal({
    home: join(root, "servers"),
    tools: usual.tools,
    variables: process.env,
    signal: new AbortController().signal,
    searchAttributes: SEARCH_ATTRIBUTES,
  });
  const s3 = await startTestS3();
  const made = networks(names);
  const forwards: Server[] = [];
  const reachable = async (address: string): Promise<string> => {
    if (made === null) return address;
    const [host, port] = address.split(":");
    const server = await forward(made.gateway, { host: host!, port: Number(port) });
    forwards.push(server);
    return `${made.gateway}:${server.port}`;
  };
  const address = await reachable(temporal.address);
  const endpoint = `http://${await reachable(new URL(s3.settings.endpoint).host)}`;
  const ups = new Map<string, ChildProcess>();
  const home = (name: string): string => join(root, name);
  const connection = await Connection.connect({ address: temporal.address });
  return {
    client: new Client({ connection }),
    s3: s3.settings,
    networks: made !== null,
    home,
    said: (name) => readFileSync(join(root, `${name}.log`), "utf8"),
    up(name, workers) {
      if (!existsSync(home(name))) {
        mkdirSync(join(home(name), "engines"), { recursive: true });
        symlinkSync(usual.tools, join(home(name), "tools"));
        // what was set up for this checkout
        symlinkSync(join(usual.home, "engines", "deepspeed"), join(home(name), "engines", "deepspeed"));
      }
      const { accessKeyId, secretAccessKey } = s3.settings.credentials!;
      const env = {
        ...process.env,
        ROSLIN_HOME: home(name),
        ROSLIN_HOST: name,
        ROSLIN_S3: "external",
        TEMPORAL_ADDRESS: address,
        AWS_ENDPOINT_URL_S3: endpoint,
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        AWS_REGION: "us-east-1",
      };
      const log = openSync(join(root, `${name}.log`), "a");
      const command = [
        ...(made?.wrap(name) ?? []),
        process.execPath,
        join(CHECKOUT, "bin", "roslin.js"),
        "up",
        "--workers",
        String(workers),
      ];
      ups.set(name, spawn(command[0]!, command.slice(1), { env, stdio: ["ignore", log, log], detached: true }));
    },
    crash(name) {
      // supervisor first, so that it starts nothing again
      const pids = processesOf(home(name));
      ups.get(name)?.kill("SIGKILL");
      for (const pid of pids)
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // it went with another one
        }
    },
    async stop() {
      for (const [name, up] of ups) {
        if (up.exitCode !== null || up.signalCode !== null) continue;
        const ended = once(up, "exit");
        await promisify(execFile)(process.execPath, [join(CHECKOUT, "bin", "roslin.js"), "down"], {
          env: { ...process.env, ROSLIN_HOME: home(name) },
        }).catch(() => up.kill("SIGTERM"));
        await ended;
      }
      await connection.close();
      for (const server of forwards) server.close();
      await temporal.stop();
      await s3.stop();
      made?.remove();
      rmSync(root, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}

/** Ids of the processes whose ROSLIN_HOME is a directory. */
function processesOf(home: string): number[] {
  const found = execFileSync("ps", ["-eo", "pid="], { encoding: "utf8" }).split("\n").map(Number).filter(Boolean);
  return found.filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`ROSLIN_HOME=${home}`);
    } catch {
      return false;
    }
  });
}
