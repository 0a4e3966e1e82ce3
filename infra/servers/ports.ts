import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { writeFileAtomic } from "../disk/files.js";

/** The ports of the local servers, all on 127.0.0.1. Each S3 port takes the one 10,000 above it, too. */
export interface Ports {
  readonly temporal: number;
  readonly ui: number;
  readonly s3: number;
  readonly master: number;
  readonly filer: number;
  readonly volume: number;
  readonly admin: number;
  /** the demo's hub */
  readonly hub: number;
  /** the pages about runs */
  readonly reports: number;
}

/** The ports of Temporal's dev server. */
export const TEMPORAL_PORTS = ["temporal", "ui"] as const;
/** The ports of SeaweedFS. */
export const S3_PORTS = ["s3", "master", "filer", "volume", "admin"] as const;
const TWINS: readonly string[] = S3_PORTS;

/** SeaweedFS opens each port's twin this far above it. */
const TWIN = 10_000;

/** Below the ports that systems give to outgoing connections, with their twins. */
const RANGE = { first: 10_000, count: 12_000 };

/**
 * The homes for which this process keeps ports, by UDP sockets with the same numbers: other Roslin processes don't take
 * them before the server starts, or while it is started again. The kernel frees them when the process ends.
 */
const kept = new Map<number, { readonly home: string; readonly socket: Socket }>();

/**
 * The named ports of a home: those of last time if they are free, the first time the `preferred` ones if they are free, or
 * else others. They are kept in `<home>/ports.json`; no other Roslin process gets them while this one lives.
 */
export async function choosePorts<Name extends keyof Ports>(
  home: string,
  names: readonly Name[],
  preferred: Partial<Ports> = {},
): Promise<Pick<Ports, Name>> {
  const file = join(home, "ports.json");
  const last = JSON.parse(await readFile(file, "utf8").catch(() => "{}")) as Partial<Ports>;
  const chosen = {} as Record<Name, number>;
  for (const name of names) {
    const taken: unknown[] = Object.values(chosen);
    let port = last[name] ?? preferred[name];
    while (port === undefined || taken.includes(port) || !(await take(home, TWINS.includes(name) ? [port, port + TWIN] : [port])))
      port = RANGE.first + Math.floor(Math.random() * RANGE.count);
    chosen[name] = port;
  }
  await writeFileAtomic(file, JSON.stringify({ ...last, ...chosen }));
  return chosen;
}

/** Keeps ports for a home if all are free. */
async function take(home: string, ports: readonly number[]): Promise<boolean> {
  const fit = await Promise.all(ports.map(async (port) => (await keep(home, port)) && (await isFree(port))));
  if (fit.every(Boolean)) return true;
  for (const port of ports)
    if (kept.get(port)?.home === home) {
      kept.get(port)!.socket.close();
      kept.delete(port);
    }
  return false;
}

async function keep(home: string, port: number): Promise<boolean> {
  const before = kept.get(port);
  if (before !== undefined) return before.home === home;
  const socket = createSocket("udp4");
  try {
    socket.bind({ port, address: "127.0.0.1", exclusive: true });
    await once(socket, "listening");
  } catch {
    socket.close();
    return false;
  }
  kept.set(port, { home, socket: socket.unref() });
  return true;
}

/** Whether a local port is free: nothing answers there, and it can be bound (on macOS the second alone proves too little). */
export async function isFree(port: number): Promise<boolean> {
  return !(await answers(port)) && (await canBind(port));
}

/** Whether something accepts connections on a local port. */
export function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", timeout: 1000 });
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
    socket.once("timeout", () => end(false));
  });
}

function canBind(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
