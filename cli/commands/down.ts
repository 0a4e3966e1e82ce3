import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { isAlive } from "../../infra/servers/service.js";
import type { Command } from "../shell/command.js";
import { HomeTakenError, lockHome } from "../machine/home-locks.js";
import { clearLeftovers } from "../machine/run-local-machine.js";
import { readState, stateFile, type UpState } from "../machine/up-state.js";

/** Workers may take five minutes to finish their step and save, the servers ten seconds each. */
const LIMIT_MS = 330_000;

/** `roslin down`: stops what `up` started or left. */
export const down: Command = {
  name: "down",
  summary: "stop what roslin up started, workers first; runs go on at the next up",
  usage: "down",
  async run(args, { home }) {
    parseArgs({ args: [...args], options: {} });
    let asked: UpState["supervisor"] | null = null;
    for (const limit = Date.now() + LIMIT_MS; Date.now() < limit; await sleep(50)) {
      const supervisor = (await readState(home))?.supervisor;
      if (supervisor !== undefined && isAlive(supervisor)) {
        // a process that Ctrl-Z has stopped gets SIGTERM only after SIGCONT
        if (asked?.pid !== supervisor.pid) for (const signal of ["SIGTERM", "SIGCONT"] as const) process.kill(supervisor.pid, signal);
        asked = supervisor;
        continue;
      }
      const ended = await clear(home);
      // an `up` that just starts or ends holds the home, and will write its state or release the home
      if (ended === null) continue;
      console.log(asked === null && ended === 0 ? "nothing runs here" : "stopped");
      return 0;
    }
    throw new Error(
      `roslin up has not ended after ${LIMIT_MS / 1000} s; its workers may still be saving: see ${home}/logs, and call again`,
    );
  },
};

/** Ends the processes that a killed supervisor left, and counts them; null: the home is not free. */
async function clear(home: string): Promise<number | null> {
  if (!existsSync(home)) return 0;
  const unlock = await lockHome(home).catch((error: unknown) => {
    if (error instanceof HomeTakenError) return null;
    throw error;
  });
  if (unlock === null) return null;
  try {
    const ended = await clearLeftovers(home, (line) => console.error(`roslin: ${line}`));
    await rm(stateFile(home), { force: true });
    return ended;
  } finally {
    await unlock();
  }
}
