import { createConnection, createServer, type NetConnectOpts, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, PeerLostError, UserError } from "../../core/errors.js";
import { duration } from "../../core/units.js";
import type { MeetingPlace } from "./meeting-place.js";

/** The workers of one attempt, joined by sockets in a star around worker 0, the coordinator. A closed socket is a dead worker. */

/** What a worker hears of the others. */
export interface GroupEvents {
  /** At the coordinator: a message from a worker, itself included. */
  toCoordinator(from: number, message: unknown): void;
  /** A message from the coordinator; it hears its own. */
  toAll(message: unknown): void;
  lost(worker: number): void;
}

/** A worker's place among the others. */
export interface Group {
  /** From any worker to the coordinator, which hears itself. */
  toCoordinator(message: unknown): void;
  /** From the coordinator to all, itself included. */
  toAll(message: unknown): void;
  /** Nobody can join any more. */
  seal(): void;
  close(): void;
}

/** Which worker of which group this is, and how long it waits. */
export interface GroupOptions {
  readonly place: MeetingPlace;
  readonly worker: number;
  readonly workers: number;
  /** how long to wait for the others to appear */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Joins the attempt's workers; resolves when all are there. */
export async function joinGroup(options: GroupOptions, events: GroupEvents): Promise<Group> {
  return options.worker === 0 ? lead(options, events) : follow(options, events);
}

async function lead(options: GroupOptions, events: GroupEvents): Promise<Group> {
  const { place, workers, timeoutMs, signal } = options;
  const sockets = new Map<number, Socket>();
  let closing = false;
  let secret: string | null = null;
  let allThere!: () => void;
  let tooFew!: (error: Error) => void;
  const complete = new Promise<void>((resolve, reject) => ([allThere, tooFew] = [resolve, reject]));
  complete.catch(() => undefined);
  const server = createServer((socket) => {
    let from = -1;
    readLines(socket, (message) => {
      if (from >= 0) return events.toCoordinator(from, message);
      const joined = message as Partial<Join> | null;
      // anybody in the network may call
      if (secret === null || joined?.secret !== secret || !Number.isInteger(joined.join)) return void socket.destroy();
      from = joined.join!;
      sockets.set(from, socket);
      if (sockets.size === workers - 1) allThere();
    });
    socket.on("close", () => {
      if (closing || from < 0) return;
      // before all have met there is no group that could be told
      if (sockets.size < workers - 1) tooFew(new PeerLostError(`worker ${from} of ${workers} is gone`));
      else events.lost(from);
    });
  });
  const seal = (): void => {
    server.close();
    place.close();
  };
  const close = (): void => {
    closing = true;
    seal();
    for (const socket of sockets.values()) socket.end();
  };
  secret = await place.open(server);
  try {
    if (workers > 1) await within(complete, timeoutMs, signal, () => missing(workers, sockets));
  } catch (error) {
    close();
    for (const socket of sockets.values()) socket.destroy();
    throw error;
  }
  const toAll = (message: unknown): void => {
    const line = `${JSON.stringify(message)}\n`;
    for (const socket of sockets.values()) if (socket.writable) socket.write(line);
    events.toAll(message);
  };
  return { toCoordinator: (message) => events.toCoordinator(0, message), toAll, seal, close };
}

/** A worker's first word. */
interface Join {
  readonly join: number;
  readonly secret: string;
}

async function follow(options: GroupOptions, events: GroupEvents): Promise<Group> {
  const { worker } = options;
  const { socket, secret } = await reach(options);
  let closing = false;
  readLines(socket, (message) => events.toAll(message));
  socket.on("close", () => {
    if (!closing) events.lost(0);
  });
  const toCoordinator = (message: unknown): void => {
    if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
  };
  toCoordinator({ join: worker, secret } satisfies Join);
  const close = (): void => {
    closing = true;
    socket.end();
  };
  const toAll = (): void => {
    throw new Error("only the coordinator speaks to all");
  };
  return { toCoordinator, toAll, seal: () => undefined, close };
}

/** Milliseconds for one try to connect: a firewall may answer nothing. */
const CONNECT_MS = 5000;

/** What says that a machine cannot be reached at all; a dead process on one that can refuses. */
const NO_WAY = ["EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "EADDRNOTAVAIL"];

/** Connects to the coordinator, as soon as it is there. Throws UserError where the way to its machine is closed. */
async function reach({ place, worker, timeoutMs, signal }: GroupOptions): Promise<{ readonly socket: Socket; readonly secret: string }> {
  const deadline = Date.now() + timeoutMs;
  /** when the coordinator's place was first known */
  let known: number | null = null;
  for (;;) {
    signal.throwIfAborted();
    const found = await place.find();
    if (found !== null) known ??= Date.now();
    let problem: NodeJS.ErrnoException = new Error(`it has not said where it is, at ${place.name}`);
    if (found !== null)
      try {
        return { socket: await connect(found.to, Math.max(1, Math.min(CONNECT_MS, deadline - Date.now()))), secret: found.secret };
      } catch (error) {
        problem = error as NodeJS.ErrnoException;
      }
    // earlier than the coordinator misses this worker: it would only say that
    if (found !== null && NO_WAY.includes(problem.code ?? "") && Date.now() >= known! + timeoutMs / 2)
      throw new UserError(
        "this machine cannot reach the one of worker 0: open TCP between them, or set ROSLIN_ADDRESS there to an address that others reach",
        { worker, ...addressOf(found.to), said: problem.code },
      );
    if (Date.now() >= deadline) {
      throw new PeerLostError(`worker 0 did not appear within ${duration(timeoutMs / 1000)} (${messageOf(problem)})`);
    }
    await sleep(place.pauseMs, undefined, { signal });
  }
}

function addressOf(to: NetConnectOpts): Readonly<Record<string, string | number | undefined>> {
  return "port" in to ? { host: to.host, port: to.port } : { path: to.path };
}

function missing(workers: number, sockets: ReadonlyMap<number, Socket>): PeerLostError {
  const names = Array.from({ length: workers - 1 }, (_, index) => index + 1).filter((worker) => !sockets.has(worker));
  return new PeerLostError(`${names.length} of ${workers} workers did not appear: ${names.join(", ")}`);
}

function connect(to: NetConnectOpts, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const late = (): void => void socket.destroy(Object.assign(new Error("no answer"), { code: "ETIMEDOUT" }));
    const timer = setTimeout(late, timeoutMs);
    const failed = (error: Error): void => {
      clearTimeout(timer);
      reject(error);
    };
    const socket = createConnection(to, () => {
      clearTimeout(timer);
      socket.off("error", failed);
      // a reset is followed by "close", which says all that matters
      socket.on("error", () => undefined);
      resolve(socket);
    });
    socket.once("error", failed);
  });
}

/** Longer lines come from a stranger. */
const MOST_CHARACTERS = 1 << 20;

/** Calls back with each line's JSON; a socket that says anything else is closed. */
function readLines(socket: Socket, onMessage: (message: unknown) => void): void {
  let rest = "";
  socket.setEncoding("utf8").setNoDelay(true);
  socket.on("error", () => undefined);
  socket.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    if (rest.length > MOST_CHARACTERS) return void socket.destroy();
    for (const line of lines) {
      const message = parsed(line);
      if (message === undefined) return void socket.destroy();
      onMessage(message);
    }
  });
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}

async function within(promise: Promise<void>, timeoutMs: number, signal: AbortSignal, error: () => Error): Promise<void> {
  const timer = new AbortController();
  const late = sleep(timeoutMs, undefined, { signal: AbortSignal.any([signal, timer.signal]) }).then(() => {
    throw error();
  });
  try {
    await Promise.race([promise, late]);
  } finally {
    timer.abort();
    late.catch(() => undefined);
  }
}
