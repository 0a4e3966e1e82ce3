import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { clearAttempts } from "../../activities/train/run/leftovers.js";
import { messageOf, UserError } from "../../core/errors.js";
import { lock, processStart } from "../../infra/disk/lock.js";
import { atFreePorts, isAlive, signalGroup, stopProcess } from "../../infra/servers/service.js";
import { withClient } from "../../workers/client.js";
import { trainDeps } from "../../workers/train-deps.js";
import { untilInterrupted } from "../shell/interrupt.js";
import type { Machine } from "./machine.js";
import { rememberRuns } from "./retention.js";
import { readState, stateFile, writeState } from "./state.js";
import { Supervisor, type Supervised } from "./supervisor.js";

/** How long processes that a killed supervisor left may take to end. */
const LEFTOVER_MS = 5000;

/**
 * Runs a home's machine for the time of `body`, which hears of SIGINT, SIGTERM and SIGHUP by the signal; then stops
 * everything, workers first. One at a time in a home. A second signal kills at once. Throws UserError when one runs already.
 */
export async function runMachine<T>(
  home: string,
  plan: (signal: AbortSignal) => Promise<Machine>,
  say: (line: string) => void,
  body: (machine: Machine, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  await mkdir(home, { recursive: true });
  const unlockHome = await lockHome(home);
  let unlockS3: () => Promise<void>;
  try {
    unlockS3 = await lockS3(home);
  } catch (error) {
    await unlockHome();
    throw error;
  }
  let processes: readonly Supervised[] = [];
  const kill = (): void => {
    for (const id of processes) signalGroup(id, "SIGKILL");
  };
  try {
    return await untilInterrupted(async (signal) => {
      const self = { pid: process.pid, start: processStart(process.pid) ?? "" };
      // from now on `down` knows whom to ask, and what was left stays known until it has ended
      await writeState(home, { supervisor: self, temporal: null, s3: null, processes: (await readState(home))?.processes ?? [] });
      await clearLeftovers(home, say);
      const { machine, supervisor } = await atFreePorts(async () => {
        const planned = await plan(signal);
        const changed = async (now: readonly Supervised[]): Promise<void> => {
          processes = now;
          await writeState(home, { supervisor: self, temporal: planned.temporal, s3: planned.s3, processes: now });
        };
        const keeper = new Supervisor(planned.groups, changed, say);
        await keeper.start(signal);
        return { machine: planned, supervisor: keeper };
      }, say);
      try {
        if (machine.temporal !== null)
          await withClient(machine.variables, rememberRuns).catch((error: unknown) =>
            say(`how long Temporal remembers runs could not be set, the next start tries again: ${messageOf(error)}`),
          );
        return await body(machine, signal);
      } finally {
        say("stopping; workers end their step and save first, minutes with a large model: a second Ctrl-C ends everything at once");
        await supervisor.stop();
      }
    }, kill);
  } finally {
    await rm(stateFile(home), { force: true });
    await unlockS3();
    await unlockHome();
  }
}

/** Another supervisor has the home. */
export class HomeTakenError extends UserError {}

/** Holds the home for one supervisor. Throws HomeTakenError when another has it. */
export function lockHome(home: string): Promise<() => Promise<void>> {
  return lock(join(home, "up.lock"), new AbortController().signal, (holder) => {
    throw new HomeTakenError("roslin up runs here already: see roslin status, or stop it with roslin down", { home, by: holder });
  });
}

/** Holds the data of the home's S3 server, which one server at a time may have. Throws HomeTakenError when another command has it. */
export function lockS3(home: string): Promise<() => Promise<void>> {
  return lock(join(home, "s3.lock"), new AbortController().signal, (holder) => {
    throw new HomeTakenError("another roslin command runs this home's S3 server: wait until it has ended", { home, by: holder });
  });
}

/** Ends what a killed supervisor left running; only the very processes that it recorded. The caller holds the home. */
export async function clearLeftovers(home: string, say: (line: string) => void): Promise<number> {
  const left = ((await readState(home))?.processes ?? []).filter(isAlive);
  if (left.length > 0) say(`ending ${left.length} processes that a killed supervisor left: ${left.map(({ name }) => name).join(", ")}`);
  await Promise.all(left.map((id) => stopProcess(id, LEFTOVER_MS)));
  await clearMemory(join(home, "stages", "train"));
  return left.length;
}

/** Removes the shared memory and sockets of attempts at training that were killed with all their workers. */
async function clearMemory(trainings: string): Promise<void> {
  for (const key of await readdir(trainings).catch(() => [])) clearAttempts(trainDeps, join(trainings, key), Infinity);
}
