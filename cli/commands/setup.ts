import { parseArgs } from "node:util";
import { UserError } from "../../core/errors.js";
import { setUpEnvironment } from "../../engines/deepspeed/environment.js";
import { getTool, TEMPORAL, WEED } from "../../infra/servers/tools.js";
import type { Command } from "../shell/command.js";
import { untilInterrupted } from "../shell/interrupt.js";
import { toolPlaces } from "../machine/local-machine.js";

/** `roslin setup`: fetches the servers, or DeepSpeed's Python environment; the launcher has installed and built before. */
export const setup: Command = {
  name: "setup",
  summary: "install everything that is needed to run: dependencies, build, local servers; or what the engine deepspeed needs",
  usage: "setup [--deepspeed [--cuda]]",
  async run(args, environment) {
    const { values } = parseArgs({ args: [...args], options: { deepspeed: { type: "boolean" }, cuda: { type: "boolean" } } });
    if (values.cuda === true && values.deepspeed !== true)
      throw new UserError("--cuda goes with --deepspeed, the engine that computes on GPUs: roslin setup --deepspeed --cuda");
    const say = (line: string): void => console.error(`roslin: ${line}`);
    const { checkout, home, variables } = environment;
    await untilInterrupted(async (signal) => {
      if (values.deepspeed === true) {
        const { python, versions } = await setUpEnvironment({ checkout, home, cuda: values.cuda === true }, say, { variables, signal });
        const cuda = versions.cuda === null ? "" : `, built for CUDA ${versions.cuda}`;
        say(`DeepSpeed ${versions.deepspeed} with torch ${versions.torch}${cuda}: ${python}`);
      } else for (const tool of [TEMPORAL, WEED]) await getTool(tool, toolPlaces(environment), say, signal);
    });
    say("everything is in place");
    return 0;
  },
};
