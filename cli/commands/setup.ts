import { parseArgs } from "node:util";
import { getTool, TEMPORAL, WEED } from "../../infra/servers/tools.js";
import type { Command } from "../shell/command.js";
import { untilInterrupted } from "../shell/interrupt.js";
import { toolPlaces } from "../machine/local-machine.js";

/** `roslin setup`: fetches the servers; the launcher has installed and built before. */
export const setup: Command = {
  name: "setup",
  summary: "install everything that is needed to run: dependencies, build, local servers",
  usage: "setup",
  async run(args, environment) {
    parseArgs({ args: [...args], options: {} });
    const say = (line: string): void => console.error(`roslin: ${line}`);
    await untilInterrupted(async (signal) => {
      for (const tool of [TEMPORAL, WEED]) await getTool(tool, toolPlaces(environment), say, signal);
    });
    say("everything is in place");
    return 0;
  },
};
