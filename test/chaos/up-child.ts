import { once } from "node:events";
import { planMachine, type Machine } from "../../cli/machine/local-machine.js";
import { runMachine } from "../../cli/machine/run-local-machine.js";
import { CHECKOUT, readEnvironment } from "../../workers/environment.js";

/**
 * `node up-child.js WORKERS LINES`: runs what `roslin up` runs, but its workers reach the servers through proxies. LINES is
 * JSON: the port of the proxy to S3 ("s3"), and of each worker's proxy to Temporal, by the worker's name.
 */
const [workers, given] = process.argv.slice(2);
const lines = JSON.parse(given!) as Readonly<Record<string, number>>;
const environment = readEnvironment(process.env, CHECKOUT);
const say = (line: string): void => console.error(`roslin: ${line}`);

function throughLines(machine: Machine): Machine {
  const groups = machine.groups.map((group) =>
    group.map((service) => {
      const line = lines[service.name];
      if (line === undefined || service.name === "s3") return service;
      const variables = {
        ...service.variables,
        TEMPORAL_ADDRESS: `127.0.0.1:${line}`,
        AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${lines["s3"]}`,
      };
      return { ...service, variables };
    }),
  );
  return { ...machine, groups };
}

await runMachine(
  environment.home,
  async (signal) => throughLines(await planMachine(environment, Number(workers), say, signal)),
  say,
  async (_machine, signal) => {
    if (!signal.aborted) await once(signal, "abort");
  },
).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
