import { join } from "node:path";
import { deviceVariables } from "../../infra/gpu/choose-gpus.js";
import type { Gpu } from "../../infra/gpu/nvidia-smi.js";
import { choosePorts, S3_PORTS, TEMPORAL_PORTS } from "../../infra/servers/ports.js";
import { writeFileAtomic } from "../../infra/disk/files.js";
import { s3Server } from "../../infra/servers/s3-server.js";
import { temporalServer } from "../../infra/servers/temporal-server.js";
import type { Service } from "../../infra/servers/service.js";
import { getTool, TEMPORAL, WEED, type ToolPlaces } from "../../infra/servers/tools.js";
import { MALLOC_SETTINGS } from "../../workers/local-training.js";
import { SEARCH_ATTRIBUTES } from "../../workflows/contract.js";
import { hostFile, REPORTS_VARIABLE, type Environment } from "../../workers/environment.js";
import { serverVariables } from "./server-variables.js";
import type { UpState } from "./up-state.js";
import type { Groups } from "./supervisor.js";

/** As many GPU workers as a run has shards by default. */
export const GPU_WORKERS = 8;

/** Milliseconds that a worker may take to stop: a step of a model of 6B takes two minutes, and its checkpoint one. */
export const WORKER_GRACE_MS = 300_000;

/** What runs on this machine for a home: which services, and where they answer. */
export interface Machine {
  readonly groups: Groups;
  readonly temporal: UpState["temporal"];
  readonly s3: UpState["s3"];
  /** where pages about runs are served; absent: nowhere */
  readonly reports?: string;
  /** the variables of its workers, and of clients of its servers */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** the `temporal` program; null when no local server is started */
  readonly temporalBinary: string | null;
}

/** Where servers are looked for. */
export function toolPlaces(environment: Environment): ToolPlaces {
  return { directory: environment.tools, variables: environment.variables };
}

/** Puts together the servers that the environment doesn't name elsewhere, and the workers: so many on the CPU, or one on each GPU. Fetches servers that are missing. */
export async function planMachine(
  environment: Environment,
  gpuWorkers: number | readonly Gpu[],
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Machine> {
  const { home, variables, bucket, host } = environment;
  await writeFileAtomic(hostFile(home), host);
  const places = toolPlaces(environment);
  const temporalBinary = environment.externalTemporal ? null : await getTool(TEMPORAL, places, say, signal);
  const temporal =
    temporalBinary === null
      ? null
      : temporalServer({
          binary: temporalBinary,
          home,
          ports: await choosePorts(home, TEMPORAL_PORTS, { temporal: 7233, ui: 8233 }),
          searchAttributes: SEARCH_ATTRIBUTES,
          variables,
          say,
        });
  const s3 =
    environment.s3 === "external"
      ? null
      : s3Server({
          binary: await getTool(WEED, places, say, signal),
          home,
          bucket,
          ports: await choosePorts(home, S3_PORTS),
          variables,
          say,
        });
  const where = {
    temporal: temporal === null ? null : { address: temporal.address, uiAddress: temporal.uiAddress },
    s3: s3?.access ?? null,
  };
  const { reports: reportPort } = await choosePorts(home, ["reports"], { reports: 8234 });
  const reports = `http://127.0.0.1:${reportPort}`;
  const forWorkers = {
    ...serverVariables(environment, where),
    [REPORTS_VARIABLE]: reports,
    ROSLIN_HOME: home,
    ROSLIN_BUCKET: environment.s3 === "external" ? variables["ROSLIN_BUCKET"] : bucket,
  };
  const devices = typeof gpuWorkers === "number" ? Array.from({ length: gpuWorkers }, () => null) : gpuWorkers;
  const workers = [
    { ...workerService(environment, "reports", "report-server.js", forWorkers), graceMs: 5000, ports: [reportPort] },
    workerService(environment, "pipeline", "pipeline.js", forWorkers),
    ...devices.map((gpu, slot) =>
      workerService(environment, `gpu-${slot}`, "gpu.js", {
        ...forWorkers,
        ...deviceVariables(gpu),
        ROSLIN_SLOT: `${slot}`,
        ROSLIN_SLOTS: `${devices.length}`,
      }),
    ),
  ];
  const servers = [temporal, s3].flatMap((server) => (server === null ? [] : [[server.service]]));
  return { ...where, reports, groups: [...servers, workers], variables: forWorkers, temporalBinary };
}

/** A worker process. It computes, so it gets malloc's settings; it saves when it is stopped. */
function workerService(
  environment: Environment,
  name: string,
  file: string,
  variables: Readonly<Record<string, string | undefined>>,
): Service {
  return {
    name,
    command: process.execPath,
    args: ["--enable-source-maps", join(environment.checkout, "dist", "workers", file)],
    variables: { ...variables, ...MALLOC_SETTINGS },
    log: join(environment.home, "logs", `${name}.log`),
    graceMs: WORKER_GRACE_MS,
  };
}
