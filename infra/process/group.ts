import { createConnection, createServer, type Socket } from "node:net";
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, PeerLostError } from "../../core/errors.js";
import { duration } from "../../core/units.js";

/** The workers of one attempt, joined by Unix sockets in a star around worker 0, the coordinator. A closed socket is a dead worker. */

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
  /** Removes the socket's name; nobody can join any more. */
  seal(): void;
  close(): void;
}

/** Which worker of which group this is, and how long it waits. */
export interface GroupOptions {
  readonly path: string;
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
  const { path, workers, timeoutMs, signal } = options;
  const sockets = new Map<number, Socket>();
  let closing = false;
  let allThere!: () => void;
  let tooFew!: (error: Error) => void;
  const complete = new Promise<void>((resolve, reject) => ([allThere, tooFew] = [resolve, reject]));
  const server = createServer((socket) => {
    let from = -1;
    readLines(socket, (message) => {
      if (from >= 0) return events.toCoordinator(from, message);
      from = (message as { join: number }).join;
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
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve));
  const seal = (): void => {
    server.close();
    rmSync(path, { force: true });
  };
  const close = (): void => {
    closing = true;
    seal();
    for (const socket of sockets.values()) socket.end();
  };
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

async function follow(options: GroupOptions, events: GroupEvents): Promise<Group> {
  const { path, worker, timeoutMs, signal } = options;
  const deadline = Date.now() + timeoutMs;
  let socket: Socket;
  for (;;) {
    signal.throwIfAborted();
    try {
      socket = await connect(path);
      break;
    } catch (error) {
      if (Date.now() > deadline)
        throw new PeerLostError(`worker 0 did not appear within ${duration(timeoutMs / 1000)} (${messageOf(error)})`);
      await sleep(20, undefined, { signal });
    }
  }
  let closing = false;
  readLines(socket, (message) => events.toAll(message));
  socket.on("close", () => {
    if (!closing) events.lost(0);
  });
  const toCoordinator = (message: unknown): void => {
    if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
  };
  toCoordinator({ join: worker });
  const close = (): void => {
    closing = true;
    socket.end();
  };
  const toAll = (): void => {
    throw new Error("only the coordinator speaks to all");
  };
  return { toCoordinator, toAll, seal: () => undefined, close };
}

function missing(workers: number, sockets: ReadonlyMap<number, Socket>): PeerLostError {
  const names = Array.from({ length: workers - 1 }, (_, index) => index + 1).filter((worker) => !sockets.has(worker));
  return new PeerLostError(`${names.length} of ${workers} workers did not appear: ${names.join(", ")}`);
}

function connect(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path, () => {
      socket.off("error", reject);
      // a reset is followed by "close", which says all that matters
      socket.on("error", () => undefined);
      resolve(socket);
    });
    socket.once("error", reject);
  });
}

/** Calls back with each line's JSON. */
function readLines(socket: Socket, onMessage: (message: unknown) => void): void {
  let rest = "";
  socket.setEncoding("utf8").setNoDelay(true);
  socket.on("error", () => undefined);
  socket.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    for (const line of lines) onMessage(JSON.parse(line));
  });
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
