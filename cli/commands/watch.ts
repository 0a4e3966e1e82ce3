import { parseArgs } from "node:util";
import { withClient } from "../../workers/client.js";
import { onlyId, type Command } from "../shell/command.js";
import { temporalVariables } from "../machine/server-variables.js";
import { watchRun } from "../show/watch-run.js";

/** `roslin watch`: a run's progress. */
export const watch: Command = {
  name: "watch",
  summary: "show how far a run is until it ends",
  usage: "watch ID",
  async run(args, environment) {
    const { positionals } = parseArgs({ args: [...args], allowPositionals: true, options: {} });
    const id = onlyId(positionals, "roslin list");
    return withClient(await temporalVariables(environment), (client) => watchRun(client, id));
  },
};
