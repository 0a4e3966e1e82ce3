import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Service } from "../../../infra/servers/service.js";
import { Interrupted } from "../../../cli/shell/interrupt.js";
import type { Machine } from "../../../cli/machine/local-machine.js";
import { runMachine } from "../../../cli/machine/run-local-machine.js";

/** `node machine-child.js HOME [slow]`: supervises two sleeping processes in a home until it is interrupted; slow: planning them lasts until then. */
const home = process.argv[2]!;

const sleeper = (name: string): Service => ({
  name,
  command: process.execPath,
  args: ["-e", "setInterval(() => {}, 1000)"],
  variables: process.env,
  log: join(home, `${name}.log`),
  graceMs: 5000,
});
const machine: Machine = {
  groups: [[sleeper("server")], [sleeper("worker")]],
  temporal: null,
  s3: null,
  variables: {},
  temporalBinary: null,
};

try {
  await runMachine(
    home,
    async (signal) => {
      if (process.argv[3] === "slow") {
        console.log("planning");
        await sleep(600_000, undefined, { signal });
      }
      return machine;
    },
    (line) => console.log(line),
    async (_machine, signal) => {
      console.log("up");
      await once(signal, "abort");
    },
  );
} catch (error) {
  if (!(error instanceof Interrupted)) {
    console.log((error as Error).message);
    process.exit(2);
  }
}
process.exit(0);
