import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { clearAttempts } from "../../activities/train/run/leftovers.js";
import { messageOf } from "../../core/errors.js";
import { makePrivateDirectory } from "../../infra/disk/private.js";
import { processStart } from "../../infra/process/process-start.js";
import { atFreePorts, isAlive, signalGroup, stopProcess } from "../../infra/servers/service.js";
import { withClient } from "../../workers/client.js";
import { trainDeps } from "../../workers/train-deps.js";
import { untilInterrupted } from "../shell/interrupt.js";
import { lockHome, lockS3 } from "./home-locks.js";
import type { Machine } from "./local-machine.js";
import { rememberRuns } from "./retention.js";
import { readState, stateFile, writeState } from "./up-state.js";
import { Supervisor, type Supervised } from "./supervisor.js";

/** Milliseconds that the processes of a killed supervisor may take to end. */
const LEFTOVER_MS = 5000;

/**
 * Runs a home's servers and workers while `body` runs; SIGINT, SIGTERM and SIGHUP abort its signal. Then stops everything,
 * workers first; a second signal kills at once. Throws UserError if another command runs them already.
 */
export async function runMachine<T>(
  home: string,
  plan: (signal: AbortSignal) => Promise<Machine>,
  say: (line: string) => void,
  body: (machine: Machine, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  makePrivateDirectory(home, say);
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
      // from now on `down` knows this supervisor, and the processes of the last one stay listed until they have ended
      await writeState(home, { supervisor: self, temporal: null, s3: null, processes: (await readState(home))?.processes ?? [] });
      await clearLeftovers(home, say);
      const { machine, supervisor } = await atFreePorts(async () => {
        const planned = await plan(signal);
        const { temporal, s3, reports } = planned;
        const changed = async (now: readonly Supervised[]): Promise<void> => {
          processes = now;
          await writeState(home, { supervisor: self, temporal, s3, ...(reports !== undefined && { reports }), processes: now });
        };
        const keeper = new Supervisor(planned.groups, changed, say);
        await keeper.start(signal);
        return { machine: planned, supervisor: keeper };
      }, say);
      try {
        if (machine.temporal !== null)
          await withClient(machine.variables, rememberRuns).catch((error: unknown) =>
            say(`how long Temporal keeps finished runs could not be set; the next start tries again: ${messageOf(error)}`),
          );
        return await body(machine, signal);
      } finally {
        say(
          "stopping: workers finish their step and save first, which takes minutes with a large model; a second Ctrl-C ends everything at once",
        );
        await supervisor.stop();
      }
    }, kill);
  } finally {
    await rm(stateFile(home), { force: true });
    await unlockS3();
    await unlockHome();
  }
}

/** Ends the processes that a killed supervisor left, and only those that it recorded; returns their number. The caller holds the home's lock. */
export async function clearLeftovers(home: string, say: (line: string) => void): Promise<number> {
  const left = ((await readState(home))?.processes ?? []).filter(isAlive);
  if (left.length > 0) say(`ending ${left.length} processes that a killed supervisor left: ${left.map(({ name }) => name).join(", ")}`);
  await Promise.all(left.map((id) => stopProcess(id, LEFTOVER_MS)));
  await clearMemory(join(home, "stages", "train"));
  return left.length;
}

/** Removes the shared memory and sockets of training attempts that were killed with all their workers. */
async function clearMemory(trainings: string): Promise<void> {
  for (const key of await readdir(trainings).catch(() => [])) clearAttempts(trainDeps, join(trainings, key), Infinity);
}
