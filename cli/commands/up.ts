import { once } from "node:events";
import { parseArgs } from "node:util";
import { MAX_SHARDS } from "../../core/config/train.js";
import { UserError } from "../../core/errors.js";
import { chooseGpus } from "../../infra/gpu/choose-gpus.js";
import type { Gpu } from "../../infra/gpu/nvidia-smi.js";
import { bytes } from "../../core/units.js";
import { isLoopback } from "../../infra/process/own-address.js";
import { workerAddress } from "../../workers/client.js";
import { wholeNumber, type Command } from "../shell/command.js";
import type { Environment } from "../../workers/environment.js";
import { GPU_WORKERS, planMachine, type Machine } from "../machine/local-machine.js";
import { Interrupted } from "../shell/interrupt.js";
import { runMachine } from "../machine/run-local-machine.js";
import { explained } from "../shell/system-errors.js";

/** `roslin up`: servers and workers, supervised. */
export const up: Command = {
  name: "up",
  summary: "start local servers and workers, and keep them running until Ctrl-C or roslin down",
  usage: "up [--workers N] [--gpus]",
  async run(args, environment) {
    const { values } = parseArgs({ args: [...args], options: { workers: { type: "string" }, gpus: { type: "boolean" } } });
    const asked = values.workers === undefined ? null : wholeNumber("--workers", values.workers);
    const gpus = values.gpus === true ? await chooseGpus(environment.variables, asked) : null;
    const workers = gpus?.length ?? asked ?? GPU_WORKERS;
    if (workers > MAX_SHARDS) throw new UserError(`no run can use more workers than shards, ${MAX_SHARDS} at most`, { got: workers });
    const address = environment.externalTemporal ? await workerAddress(environment) : null;
    const say = (line: string): void => console.error(`roslin: ${line}`);
    try {
      await runMachine(
        environment.home,
        (signal) => planMachine(environment, gpus ?? workers, say, signal),
        say,
        async (machine, signal) => {
          console.log(announce(machine, environment, gpus ?? workers, address));
          if (!signal.aborted) await once(signal, "abort");
        },
      );
    } catch (error) {
      if (!(error instanceof Interrupted)) throw explained(error, environment.home);
    }
    return 0;
  },
};

function announce(machine: Machine, environment: Environment, workers: number | readonly Gpu[], address: string | null): string {
  const { temporal, s3 } = machine;
  const count = typeof workers === "number" ? workers : workers.length;
  const lines = [`Roslin is up: 1 pipeline worker, ${count} GPU worker${count === 1 ? "" : "s"}; logs in ${environment.home}/logs`];
  if (typeof workers !== "number")
    lines.push(...workers.map(({ index, name, memory }, slot) => `  gpu-${slot}     GPU ${index}, ${name}, ${bytes(memory)}`));
  if (temporal !== null) lines.push(`  Web UI    ${temporal.uiAddress}`, `  Temporal  ${temporal.address}`);
  else lines.push(`  Temporal  ${environment.variables["TEMPORAL_ADDRESS"] ?? "that of the profile"}`);
  if (machine.reports !== undefined) lines.push(`  Reports   ${machine.reports}`);
  if (address !== null) lines.push(`  machine   ${environment.host}, ${reachedAt(address)}`);
  if (s3 !== null) lines.push(`  S3        ${s3.endpoint}, bucket ${environment.bucket}, keys in ${environment.home}/s3-keys.json`);
  lines.push("", "Start a run from a second terminal:", `  ${startLine(machine, environment)}`, "Ctrl-C stops everything.");
  return lines.join("\n");
}

/** How other machines reach this one, in words. */
export function reachedAt(address: string): string {
  return isLoopback(address)
    ? `at ${address}, where no other machine reaches it: for training on several machines set ROSLIN_ADDRESS`
    : `at ${address} for other machines`;
}

/** The stock CLI's line that starts a run, as it can be pasted where a `run.json` lies. */
function startLine({ temporal, temporalBinary }: Machine, environment: Environment): string {
  const onPath = (environment.variables["PATH"] ?? "").split(":").some((directory) => `${directory}/temporal` === temporalBinary);
  const program = temporalBinary === null || onPath ? "temporal" : quoted(temporalBinary);
  const address = temporal === null ? "" : ` --address ${temporal.address}`;
  return `${program}${address} workflow start --type finetune --task-queue roslin --input-file run.json`;
}

function quoted(path: string): string {
  return /^[\w./@+-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
