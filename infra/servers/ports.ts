import { readFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { writeFileAtomic } from "../files.js";

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

/** The named ports of a home: those of last time as long as they are free, at first the `preferred` ones if free, else others. Kept in `<home>/ports.json`. */
export async function choosePorts<Name extends keyof Ports>(
  home: string,
  names: readonly Name[],
  preferred: Partial<Ports> = {},
): Promise<Pick<Ports, Name>> {
  const file = join(home, "ports.json");
  const last = JSON.parse(await readFile(file, "utf8").catch(() => "{}")) as Partial<Ports>;
  const chosen = {} as Record<Name, number>;
  for (const name of names) {
    const offset = TWINS.includes(name) ? [0, TWIN] : [0];
    const taken: unknown[] = Object.values(chosen);
    const fits = async (port: number): Promise<boolean> =>
      !taken.includes(port) && (await Promise.all(offset.map((more) => isFree(port + more)))).every(Boolean);
    let port = last[name] ?? preferred[name];
    while (port === undefined || !(await fits(port))) port = RANGE.first + Math.floor(Math.random() * RANGE.count);
    chosen[name] = port;
  }
  await writeFileAtomic(file, JSON.stringify({ ...last, ...chosen }));
  return chosen;
}

/** Whether nothing listens on a local port: nobody answers, and it can be bound (on macOS the second alone says too little). */
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
