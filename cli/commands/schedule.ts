import { parseArgs } from "node:util";
import { ScheduleAlreadyRunning, ScheduleNotFoundError, ScheduleOverlapPolicy, type Client } from "@temporalio/client";
import { UserError } from "../../core/errors.js";
import { FINETUNE, TASK_QUEUE } from "../../workflows/contract.js";
import { withClient } from "../../workers/client.js";
import { onlyId, type Command } from "../shell/command.js";
import { temporalVariables } from "../machine/server-variables.js";
import { readConfig } from "../shell/read-config.js";

/** A run that could not be started in time is left out: a machine that was off does not catch up on a week. */
const CATCH_UP = "1 hour";

export const schedule: Command = {
  name: "schedule",
  summary: "start runs by a schedule: at an interval, or at the times of a cron expression",
  usage: `schedule create ID --config FILE (--every INTERVAL | --cron "MIN HOUR DAY MONTH WEEKDAY") | list | pause ID | resume ID | delete ID`,
  async run([verb, ...args], environment) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { config: { type: "string" }, every: { type: "string" }, cron: { type: "string" } },
    });
    const work = await actionOf(verb, positionals, values);
    return withClient(await temporalVariables(environment), async (client) => {
      try {
        await work(client);
      } catch (error) {
        if (error instanceof ScheduleNotFoundError)
          throw new UserError("there is no schedule with this id: roslin schedule list shows the schedules", { id: positionals[0] });
        if (error instanceof ScheduleAlreadyRunning)
          throw new UserError("a schedule with this id exists already: delete it first, or use another id", { id: positionals[0] });
        // the SDK's error when the server refuses an argument
        if (error instanceof TypeError)
          throw new UserError("the server refuses this schedule: correct --every or --cron", {
            got: values.every ?? values.cron,
            said: error.message,
          });
        throw error;
      }
      return 0;
    });
  },
};

interface Options {
  readonly config?: string | undefined;
  readonly every?: string | undefined;
  readonly cron?: string | undefined;
}

/** The action that the arguments ask for, which are checked before a connection is made. */
async function actionOf(
  verb: string | undefined,
  positionals: readonly string[],
  options: Options,
): Promise<(client: Client) => Promise<void>> {
  if (verb === "list") return list;
  if (verb === "create") return creation(onlyId(positionals, "roslin schedule list"), options);
  const id = (): string => onlyId(positionals, "roslin schedule list");
  const change = async (
    id: string,
    doing: string,
    work: (handle: ReturnType<Client["schedule"]["getHandle"]>) => Promise<unknown>,
    client: Client,
  ): Promise<void> => {
    await work(client.schedule.getHandle(id));
    console.log(`${id} is ${doing}`);
  };
  if (verb === "pause") return (client) => change(id(), "paused", (handle) => handle.pause(), client);
  if (verb === "resume") return (client) => change(id(), "at work again", (handle) => handle.unpause(), client);
  if (verb === "delete") return (client) => change(id(), "deleted", (handle) => handle.delete(), client);
  throw new UserError("name what to do with a schedule", { expected: "create, list, pause, resume or delete", got: verb });
}

async function creation(scheduleId: string, { config, every, cron }: Options): Promise<(client: Client) => Promise<void>> {
  if ((every === undefined) === (cron === undefined)) throw new UserError("a schedule needs either --every, such as 24h, or --cron");
  if (every !== undefined && !/^\d+ ?(m|min|minutes?|h|hours?|d|days?)$/.test(every))
    throw new UserError("--every is a number of minutes, hours or days", { expected: "30m, 24h or 7d", got: every });
  // the default would be Dolly's own run, which few machines have room for
  if (config === undefined) throw new UserError("a schedule needs --config FILE; {} in it is Dolly's own run");
  const input = [await readConfig(config)];
  const spec = every === undefined ? { cronExpressions: [cron!] } : { intervals: [{ every: every as "1 hour" }] };
  return async (client) => {
    await client.schedule.create({
      scheduleId,
      spec,
      // two runs at once would wait for each other's workers
      policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: CATCH_UP },
      action: { type: "startWorkflow", workflowType: FINETUNE, taskQueue: TASK_QUEUE, workflowId: scheduleId, args: input },
    });
    const next = (await client.schedule.getHandle(scheduleId).describe()).info.nextActionTimes[0];
    console.log(`${scheduleId} runs next at ${next?.toISOString() ?? "no time: look at its expression"}`);
  };
}

async function list(client: Client): Promise<void> {
  for await (const entry of client.schedule.list()) {
    const state = entry.state?.paused ? "paused" : `next at ${entry.info?.nextActionTimes[0]?.toISOString() ?? "no time"}`;
    console.log(`${entry.scheduleId.padEnd(28)} ${state}`);
  }
}
