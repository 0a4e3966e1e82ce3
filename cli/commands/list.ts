import { parseArgs } from "node:util";
import { FINETUNE } from "../../workflows/contract.js";
import { withClient } from "../../workers/client.js";
import { wholeNumber, type Command } from "../shell/command.js";
import { temporalVariables } from "../machine/server-variables.js";

/** Runs that are shown without --limit. */
const LIMIT = 20;

export const list: Command = {
  name: "list",
  summary: "list runs, the latest first",
  usage: "list [--limit N]",
  async run(args, environment) {
    const { values } = parseArgs({ args: [...args], options: { limit: { type: "string" } } });
    const limit = values.limit === undefined ? LIMIT : wholeNumber("--limit", values.limit);
    return withClient(await temporalVariables(environment), async (client) => {
      let shown = 0;
      for await (const run of client.workflow.list({ query: `WorkflowType = '${FINETUNE}'` })) {
        if (shown++ === limit) break;
        const attributes = run.typedSearchAttributes.getAll();
        const stage = attributes.find(({ key }) => key.name === "RoslinStage")?.value;
        const where = run.status.name === "RUNNING" && typeof stage === "string" ? `in ${stage}` : "";
        console.log(
          `${run.workflowId.padEnd(28)} ${run.status.name.toLowerCase().padEnd(11)} ${run.startTime.toISOString()}  ${where}`.trimEnd(),
        );
      }
      if (shown === 0) console.error("roslin: there are no runs yet; roslin start begins one");
      return 0;
    });
  },
};
