import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  boundLog,
  launch,
  PortTakenError,
  stopAll,
  stopProcess,
  untilReady,
  type ProcessId,
  type Running,
  type Service,
} from "../../infra/servers/service.js";
import { freeDisk } from "../../infra/process/machine.js";
import { messageOf } from "../../core/errors.js";
import { bytes } from "../../core/units.js";

/** What a supervisor keeps running: groups are started in order and stopped in the opposite one. */
export type Groups = readonly (readonly Service[])[];

/** A supervised process as others see it. */
export interface Supervised extends ProcessId {
  readonly name: string;
  /** how often it died and was started again */
  readonly restarts: number;
}

/** Milliseconds before a process is started again: the first time few, then more each time that it ends soon. */
const BACK_OFF = { firstMs: 200, lastMs: 10_000, forgottenMs: 30_000 };

/** Milliseconds between looks at the logs' sizes and the disk. */
const LOOK_MS = 5000;
/** Free bytes below which the user is warned. */
const LOW_DISK = 200e6;

/** The pause before the start that follows a process's death, from the pause before its last one and how long it lived. */
export function pauseBefore(lastPauseMs: number | null, livedMs: number): number {
  if (lastPauseMs === null || livedMs >= BACK_OFF.forgottenMs) return BACK_OFF.firstMs;
  return Math.min(lastPauseMs * 2, BACK_OFF.lastMs);
}

/** Keeps processes running: a process that ends is started again with its ports and data. */
export class Supervisor {
  private readonly groups: Groups;
  private readonly running = new Map<Service, Running & { readonly restarts: number }>();
  private readonly stopping = new AbortController();
  private readonly stopped: Promise<null>;
  private readonly keepers: Promise<void>[] = [];
  private readonly changed: (processes: readonly Supervised[]) => Promise<void>;
  private readonly say: (line: string) => void;
  /** one word to `changed` after the other */
  private told: Promise<void> = Promise.resolve();

  /** `changed` hears of every start, so that the processes of a killed supervisor are known; `say` hears of every end. */
  constructor(groups: Groups, changed: (processes: readonly Supervised[]) => Promise<void>, say: (line: string) => void) {
    this.groups = groups;
    this.changed = changed;
    this.say = say;
    this.stopped = once(this.stopping.signal, "abort").then(() => null);
  }

  /** Starts everything, each group when the one before is ready. If something cannot be started, stops everything again and throws. */
  async start(signal: AbortSignal): Promise<void> {
    try {
      for (const group of this.groups) {
        signal.throwIfAborted();
        // all have settled before a failure stops what was started
        const launched = await Promise.allSettled(group.map((service) => this.launch(service, 0)));
        const started = launched.map((one) => {
          if (one.status === "rejected") throw one.reason;
          return one.value;
        });
        await this.told;
        await Promise.all(started.map((running) => untilReady(running, signal)));
        for (const running of started) this.keepers.push(this.keep(running));
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.keepers.push(this.watchDisk());
  }

  /** Stops everything, the last group first. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await Promise.all(this.keepers);
    for (const group of this.groups.toReversed()) {
      await stopAll(group.flatMap((service) => this.running.get(service) ?? []));
      for (const service of group) this.running.delete(service);
    }
  }

  private async launch(service: Service, restarts: number): Promise<Running> {
    const running = await launch(service);
    this.running.set(service, { ...running, restarts });
    const now = [...this.running.values()].map(({ id, service: { name }, restarts: count }) => ({ ...id, name, restarts: count }));
    this.told = this.told.catch(() => undefined).then(() => this.changed(now));
    // callers that need the result wait for `told`
    this.told.catch(() => undefined);
    return running;
  }

  /** Starts one service again, whenever it ends, until the supervisor stops. */
  private async keep(first: Running): Promise<void> {
    const { service } = first;
    const { signal } = this.stopping;
    let ended = first.ended;
    let since = Date.now();
    let pause: number | null = null;
    for (let restarts = 1; ; restarts++) {
      const how = await Promise.race([ended, this.stopped]);
      if (how === null) return;
      pause = pauseBefore(pause, Date.now() - since);
      this.say(
        `${service.name} ended (${how}); it is started again in ${pause / 1000} s${how.startsWith("signal") ? "" : await lastWords(service)}`,
      );
      await sleep(pause, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      since = Date.now();
      const launched = this.launch(service, restarts);
      void launched.then((running) => this.mindPorts(running)).catch(() => undefined);
      ended = launched.then((running) => running.ended, messageOf);
      // so that a stop finds what is being started
      await launched.catch(() => undefined);
      await this.told.catch((error: unknown) => this.say(`the list of running processes cannot be saved: ${messageOf(error)}`));
    }
  }

  /** Ends a server whose port is taken: some servers would use another port, where clients don't look for them. */
  private async mindPorts(running: Running): Promise<void> {
    try {
      await untilReady(running, this.stopping.signal);
    } catch (error) {
      if (!(error instanceof PortTakenError)) return;
      this.say(error.message);
      await stopProcess(running.id, running.service.graceMs);
    }
  }

  /** Keeps logs short, and warns when their disk fills up, because a Temporal server without room can't report it. */
  private async watchDisk(): Promise<void> {
    const { signal } = this.stopping;
    const services = this.groups.flat();
    let low = false;
    while (!signal.aborted) {
      await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
      for (const { name, log } of services)
        await boundLog(log).catch((error: unknown) => this.say(`the log of ${name} cannot be cut: ${messageOf(error)}`));
      const directory = dirname(services[0]!.log);
      const free = freeDisk(directory);
      if (free < LOW_DISK !== low) this.say(diskNote(directory, free));
      low = free < LOW_DISK;
    }
  }
}

/** The message when the disk has filled up, and when it has room again. */
function diskNote(directory: string, free: number): string {
  const have = `${bytes(free)} are free on the disk of ${directory}`;
  return free < LOW_DISK ? `${have}: make room; runs that find none wait, and go on when there is some` : `${have} again`;
}

/** The last line of a service's log that may explain why it ended. */
async function lastWords({ log }: Service): Promise<string> {
  const lines = (await readFile(log, "utf8").catch(() => "")).split("\n");
  const line = lines.findLast((text) => text.trim() !== "" && !/^(Node\.js v|\s)/.test(text));
  return line === undefined ? "" : `; its last words: ${line.slice(0, 300)}; the rest is in ${log}`;
}
