import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { copyFile, readFile, stat, truncate } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { withPrivateFiles } from "../disk/private.js";
import { processStart } from "../process/process-start.js";
import { listeningPorts } from "./listeners.js";
import { answers } from "./ports.js";

/** A process that serves: how to start it, see that it is ready, and stop it. */
export interface Service {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** the whole environment of the process */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** file that takes its output */
  readonly log: string;
  /** how long it may take to stop before it is killed */
  readonly graceMs: number;
  /** the TCP ports at which it will listen; absent: none */
  readonly ports?: readonly number[];
  /** whether what it makes (data, log, sockets) is for its owner alone */
  readonly private?: boolean;
  /** Whether it answers; absent: as soon as it runs and listens. */
  ready?(): Promise<boolean>;
  /** Removes what its process leaves when it ends. */
  tidy?(): Promise<void>;
}

/** How the system names a process for good: its pid and when it started. */
export interface ProcessId {
  readonly pid: number;
  readonly start: string;
}

/** A service's process. */
export interface Running {
  readonly service: Service;
  readonly id: ProcessId;
  /** resolves when it has ended, to a few words on how */
  readonly ended: Promise<string>;
}

/** Bytes at which a log starts anew; the one before is kept as `<log>.1`. */
const LOG_BYTES = 16 << 20;

/** Milliseconds that a service has to become ready. */
const READY_MS = 60_000;
/** Milliseconds that a server has to answer whether it is ready. */
export const ANSWER_MS = 5000;

/** Starts a service's process, in a group of its own: Ctrl-C in the terminal must not reach it, because servers outlive workers. */
export async function launch(service: Service): Promise<Running> {
  await service.tidy?.();
  mkdirSync(dirname(service.log), { recursive: true, mode: 0o700 });
  const log = openSync(service.log, "a", 0o600);
  let child: ChildProcess;
  try {
    const start = (): ChildProcess =>
      spawn(service.command, [...service.args], { env: service.variables, stdio: ["ignore", log, log], detached: true });
    child = service.private === true ? withPrivateFiles(start) : start();
    await once(child, "spawn");
  } finally {
    closeSync(log);
  }
  const pid = child.pid!;
  const ended = once(child, "exit").then(([code, signal]) => (signal === null ? `exit code ${code}` : `signal ${signal}`));
  return { service, id: { pid, start: processStart(pid) ?? "gone" }, ended };
}

/** Another program listens at a port that is meant for a service. */
export class PortTakenError extends Error {
  override readonly name = "PortTakenError";
}

/** How often other ports are tried when another program takes one between their choice and the server's start. */
const TRIES = 5;

/** Calls `start`, which chooses ports and starts servers at them; again if another program takes a port in between. */
export async function atFreePorts<T>(start: () => Promise<T>, say: (line: string) => void): Promise<T> {
  for (let tries = 1; ; tries++)
    try {
      return await start();
    } catch (error) {
      if (!(error instanceof PortTakenError) || tries === TRIES) throw error;
      say(`${error.message}; starting again with other ports`);
    }
}

/**
 * Waits until a started service is ready, and answers at its ports itself. Throws PortTakenError if another program answers
 * there, and an Error with the end of its log if it ends or takes too long.
 */
export async function untilReady(running: Running, signal: AbortSignal): Promise<void> {
  const { service } = running;
  let ended: string | null = null;
  void running.ended.then((how) => (ended = how));
  const limit = Date.now() + READY_MS;
  while (!((await listens(running)) && ((await service.ready?.()) ?? true))) {
    signal.throwIfAborted();
    if (ended !== null || Date.now() > limit) {
      const tail = (await readFile(service.log, "utf8")).trim().split("\n").slice(-5).join("\n  ");
      throw new Error(
        `${service.name} ${ended === null ? "did not get ready in a minute" : `ended at once with ${ended}`}; the end of ${service.log}:\n  ${tail}`,
      );
    }
    await sleep(50);
  }
}

/** Whether it listens at all its ports. Throws PortTakenError. */
async function listens({ service, id }: Running): Promise<boolean> {
  const { ports = [] } = service;
  if (ports.length === 0) return true;
  const answering = await Promise.all(ports.map(answers));
  // read last: a port that answered and is not among these belongs to another program
  const own = await listeningPorts(id.pid);
  const foreign = ports.find((port, index) => answering[index] && !own.has(port));
  if (foreign !== undefined) throw new PortTakenError(`another program listens at port ${foreign}, which is meant for ${service.name}`);
  return ports.every((port) => own.has(port));
}

/** The status of a server's answer to a GET; null when it doesn't answer in time. */
export async function httpStatus(url: string): Promise<number | null> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) });
    await response.body?.cancel();
    return response.status;
  } catch {
    return null;
  }
}

/** Asks processes to stop and waits; a process that still runs after its grace is killed. */
export async function stopAll(running: readonly Running[]): Promise<void> {
  await Promise.all(
    running.map(async ({ id, service }) => {
      await stopProcess(id, service.graceMs);
      await service.tidy?.();
    }),
  );
}

/** Ends a process: SIGTERM, then SIGKILL after its grace. A stopped process is continued first, because it would not get the signal. */
export async function stopProcess(id: ProcessId, graceMs: number): Promise<void> {
  signalGroup(id, "SIGTERM");
  signalGroup(id, "SIGCONT");
  const limit = Date.now() + graceMs;
  while (isAlive(id) && Date.now() < limit) await sleep(20);
  signalGroup(id, "SIGKILL");
  while (isAlive(id)) await sleep(20);
}

/** Whether the very process still runs: another one with its pid doesn't count. */
export function isAlive({ pid, start }: ProcessId): boolean {
  return processStart(pid) === start;
}

/** Signals a process and its children; another process that got its pid is left alone. */
export function signalGroup(id: ProcessId, signal: NodeJS.Signals): void {
  if (!isAlive(id)) return;
  try {
    process.kill(-id.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Keeps a log from filling the disk: copies it aside and empties it. The writer appends, so it goes on at the start. */
export async function boundLog(log: string): Promise<void> {
  const { size } = await stat(log).catch(() => ({ size: 0 }));
  if (size < LOG_BYTES) return;
  await copyFile(log, `${log}.1`);
  await truncate(log);
}
