import { lstat, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { parseRunConfig } from "../core/config/schema.js";
import { forecast } from "../activities/forecast/forecast.js";
import type { PlanDependencies } from "../activities/plan/plan-run.js";
import type { Environment } from "./environment.js";
import { availableMemory, freeDisk, memoryLimit } from "../infra/process/machine.js";
import { isLoopback } from "../infra/process/own-address.js";
import { fetchPublished, findPublished } from "../infra/sources/published.js";
import { openSigner } from "../infra/signing/keys.js";
import { noteAbilities } from "../infra/sources/shared-files.js";
import { checkTarget } from "../infra/store/check.js";
import { s3SettingsOf } from "../infra/store/s3-store.js";
import { eligible } from "../workflows/eligible.js";
import { SEARCH_ATTRIBUTES, type GpuWorker, type SearchAttributeName } from "../workflows/contract.js";
import { checkAnyTarget, defaultTarget } from "./artifact-deps.js";
import type { Temporal } from "./connect.js";
import { leaseState } from "./lease-client.js";
import type { Stages } from "./stages.js";
import { trainDeps } from "./train-deps.js";
import { finishedDownload } from "../activities/download/definition.js";

/** What planning a run asks of this machine, its servers and Temporal. */
export function planDependencies(environment: Environment, temporal: Temporal, stages: Pick<Stages, "places" | "root">): PlanDependencies {
  const { host, variables } = environment;
  const all = async (): Promise<readonly GpuWorker[]> => (await leaseState(temporal.client))?.workers ?? [];
  const registered = async (): Promise<readonly GpuWorker[]> => (await all()).filter((worker) => worker.host === host);
  return {
    ...stages.places,
    host,
    reports: environment.reports,
    defaultTarget: () => defaultTarget(environment),
    memory: () => ({ total: memoryLimit(), available: availableMemory() }),
    disk: async () => {
      await mkdir(stages.root, { recursive: true });
      return { free: freeDisk(stages.root), used: await bytesBelow(stages.root), directory: stages.root };
    },
    checkTarget: async (uri, wanted, signal) =>
      (await checkAnyTarget(s3SettingsOf(variables), environment.hub, uri, wanted, { signal })).note,
    findLive: (uri, signal) => findPublished(uri, { ...s3SettingsOf(variables), hub: environment.hub }, signal),
    fetchPublished,
    checkSigner: async (sign) => (await openSigner(sign, variables)).note,
    gpuWorkers: async () => (await registered()).length,
    gpuMemory: async () => (await registered()).flatMap(({ device }) => (device == null ? [] : [device.memory])),
    shared: {
      workers: async ({ shards, workers: { min, hosts } }) =>
        eligible(await all(), { host, min, max: shards, enough: shards, hosts }).workers,
      checkStore: async (uri, signal) => {
        const { abilities, note } = await checkTarget(uri, s3SettingsOf(variables), parseRunConfig({}).publish, signal);
        await noteAbilities(uri, s3SettingsOf(variables), abilities, signal);
        return note;
      },
      serverHere: (uri) => {
        const { endpoint } = s3SettingsOf(variables);
        return uri.startsWith("s3:") && endpoint !== undefined && isLoopback(new URL(endpoint).hostname) ? endpoint : null;
      },
    },
    searchAttributes: () => knownAttributes(temporal),
    downloaded: (config) => finishedDownload(config, stages.root),
    forecast: (config) => forecast(config, stages.root),
    needs: async (model, train) => {
      const engine = trainDeps.engines[train.engine];
      await engine.check();
      return engine.needs(model, train, null);
    },
  };
}

/** Bytes of the files below a directory; those that go while they are counted are not. */
async function bytesBelow(directory: string): Promise<number> {
  const names = await readdir(directory, { recursive: true });
  const sizes = names.map((name) =>
    lstat(join(directory, name)).then(
      ({ size }) => size,
      () => 0,
    ),
  );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** Roslin's search attributes that the namespace knows; none if it cannot be asked. */
async function knownAttributes({ connection, namespace }: Temporal): Promise<SearchAttributeName[]> {
  // a hosted server may keep this call to its operators; a run does without attributes then
  const found = await connection.operatorService.listSearchAttributes({ namespace }).catch(() => null);
  return (Object.keys(SEARCH_ATTRIBUTES) as SearchAttributeName[]).filter((name) => found?.customAttributes?.[name] != null);
}
