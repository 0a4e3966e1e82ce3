import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { isAlive } from "../../infra/servers/service.js";
import type { Command } from "../command.js";
import { clearLeftovers, lockHome } from "../run-machine.js";
import { readState } from "../state.js";

/** Workers may take a minute to save, the servers ten seconds each. */
const LIMIT_MS = 90_000;

/** `roslin down`: stops what `up` started or left. */
export const down: Command = {
  name: "down",
  summary: "stop what roslin up started, workers first; runs go on at the next up",
  usage: "down",
  async run(args, { home }) {
    parseArgs({ args: [...args], options: {} });
    const state = await readState(home);
    if (state === null) {
      console.log("nothing runs here");
      return 0;
    }
    if (!isAlive(state.supervisor)) {
      const unlock = await lockHome(home);
      try {
        const ended = await clearLeftovers(home, (line) => console.error(`roslin: ${line}`));
        console.log(ended === 0 ? "nothing runs here" : "stopped");
      } finally {
        await unlock();
      }
      return 0;
    }
    process.kill(state.supervisor.pid, "SIGTERM");
    for (const limit = Date.now() + LIMIT_MS; isAlive(state.supervisor); await sleep(50))
      if (Date.now() > limit)
        throw new Error(
          `roslin up has not ended in ${LIMIT_MS / 1000} s; its workers may still be saving: see ${home}/logs, and call again`,
        );
    console.log("stopped");
    return 0;
  },
};
