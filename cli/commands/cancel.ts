import { parseArgs } from "node:util";
import { WorkflowNotFoundError } from "@temporalio/client";
import { UserError } from "../../core/errors.js";
import { withClient } from "../../workers/client.js";
import { onlyId, type Command } from "../shell/command.js";
import { temporalVariables } from "../machine/server-variables.js";

/** `roslin cancel`: asks a run to save and end. */
export const cancel: Command = {
  name: "cancel",
  summary: "end a run; what it has done is kept, and a run with the same settings goes on from there",
  usage: "cancel ID",
  async run(args, environment) {
    const { positionals } = parseArgs({ args: [...args], allowPositionals: true, options: {} });
    const id = onlyId(positionals, "roslin list");
    return withClient(await temporalVariables(environment), async (client) => {
      try {
        const handle = client.workflow.getHandle(id);
        const { status } = await handle.describe();
        if (status.name !== "RUNNING") throw new UserError("this run has already ended", { id, status: status.name.toLowerCase() });
        await handle.cancel();
      } catch (error) {
        if (!(error instanceof WorkflowNotFoundError)) throw error;
        throw new UserError("no run with this id is at work: roslin list shows the runs", { id });
      }
      console.log(`${id} saves what it has and ends`);
      return 0;
    });
  },
};
