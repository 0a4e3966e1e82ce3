import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { UserError, messageOf } from "../../core/errors.js";
import { outputNamed, type Artifact, type Progress, type StageResult } from "../../core/stage.js";
import type { Hub } from "../../infra/hub/hub.js";
import { finishStage, finishedStage, stageDirectory, type StageContext, type StageDefinition, type StageFiles, type StageRequest } from "../stage.js";
import { linkDirectory } from "./links.js";
import { describePlan, planHub, planLocal, viewName, type SourceName, type SourcePlan } from "./plan.js";

/** What downloading is handed. */
export interface DownloadDependencies {
  readonly files: StageFiles;
  readonly hub: Hub;
  /** infra's `artifactOf` */
  artifactOf(name: string, path: string, signal?: AbortSignal): Promise<Artifact>;
  /** infra's `directoryDigest` */
  directoryDigest(files: readonly { readonly name: string; readonly sha256: string }[]): string;
  /** Throws UserError or CorruptError unless the directory holds a whole model: infra's `ModelFiles`. */
  checkModel(directory: string): void;
}

export const downloadDefinition: StageDefinition = {
  name: "download",
  version: 1,
  inputs: [],
  settings: ({ model, dataset }) => ({ model: model.source, dataset: dataset.source }),
};

/** Milliseconds between reports: every wait in here is bounded, so that a report also says that it lives. */
const REPORT_MS = 1000;

/**
 * Gets model and dataset. The stage's key knows only the names of its sources, so what they hold is looked at on every
 * call: local files are digested, a branch is resolved to its commit, and only an equal outcome counts as reused.
 */
export async function download(dependencies: DownloadDependencies, request: StageRequest, context: StageContext): Promise<StageResult> {
  const directory = stageDirectory(downloadDefinition, request);
  await mkdir(directory, { recursive: true });
  let progress: Progress = { stage: "download", done: 0, total: 0, unit: "bytes" };
  const report = (change: Partial<Progress>): void => void (progress = { ...progress, ...change });
  const timer = setInterval(() => context.progress(progress), REPORT_MS);
  const waiting = (holder: string): void => report({ note: `waiting for ${holder}, which does the same` });
  const unlock = await dependencies.files.lock(join(directory, "lock"), context.signal, waiting).finally(() => clearInterval(timer));
  const ticking = setInterval(() => context.progress(progress), REPORT_MS);
  try {
    const started = performance.now();
    const finished = await finishedStage(directory);
    const plans = await planSources(dependencies, request, finished, context.signal, report);
    const results = await getSources(dependencies, directory, plans, context.signal, report);
    context.progress(progress);
    const outputs = results.map((result) => result.artifact);
    if (finished !== null && JSON.stringify(finished.outputs) === JSON.stringify(outputs)) return finished;
    const metrics = {
      seconds: (performance.now() - started) / 1000,
      bytes: outputs.reduce((sum, output) => sum + output.bytes, 0),
      bytesFetched: results.reduce((sum, result) => sum + result.fetched, 0),
      commits: Object.fromEntries(plans.flatMap((plan) => (plan.kind === "hub" ? [[plan.name, plan.repository.commit]] : plan.kind === "kept" ? [[plan.name, plan.commit]] : []))),
    };
    return await finishStage(dependencies.files, directory, { stage: "download", outputs, metrics });
  } finally {
    clearInterval(ticking);
    await unlock();
  }
}

/** Plans both sources, local ones first: what can be wrong without a network is said without it. */
async function planSources(
  { hub }: DownloadDependencies,
  { config }: StageRequest,
  finished: StageResult | null,
  signal: AbortSignal,
  report: (change: Partial<Progress>) => void,
): Promise<SourcePlan[]> {
  const sources: [SourceName, string][] = [
    ["model", config.model.source],
    ["dataset", config.dataset.source],
  ];
  const local = new Map<SourceName, SourcePlan | null>();
  for (const [name, source] of sources) local.set(name, await planLocal(name, source));
  const plans: SourcePlan[] = [];
  for (const [name, source] of sources) {
    report({ note: `looking at ${source}` });
    const commit = (finished?.metrics["commits"] as Record<string, string> | undefined)?.[name];
    const kept = finished === null || commit === undefined ? null : { artifact: outputNamed(finished.outputs, name), commit };
    plans.push(local.get(name) ?? (await planHub(hub, name, source, kept, signal)));
  }
  return plans;
}

interface Got {
  readonly artifact: Artifact;
  /** bytes over the wire */
  readonly fetched: number;
}

async function getSources(
  dependencies: DownloadDependencies,
  directory: string,
  plans: readonly SourcePlan[],
  signal: AbortSignal,
  report: (change: Partial<Progress>) => void,
): Promise<Got[]> {
  const remote = plans.filter((plan) => plan.kind === "hub");
  const sizes = remote.map(({ files }) => files.reduce((sum, file) => sum + file.bytes, 0));
  let missing = 0;
  for (const { repository, files } of remote) missing += await dependencies.hub.missing(repository, files);
  await dependencies.hub.checkSpace(missing);
  report({ total: sizes.reduce((sum, bytes) => sum + bytes, 0) });

  const results: Got[] = [];
  let before = 0;
  for (const plan of plans) {
    report({ note: describePlan(plan) });
    const at = join(directory, viewName(plan));
    if (plan.kind === "hub") {
      const start = before;
      before += sizes[remote.indexOf(plan)]!;
      const cached = await dependencies.hub.fetch(plan.repository, plan.files, {
        signal,
        onBytes: (done) => report({ done: start + done }),
        onNote: (note) => report({ note }),
      });
      await linkDirectory(at, cached.map(({ path, blob }) => ({ path, target: blob })), "hard");
      checkIfModel(dependencies, plan.name, at);
      const sha256 = dependencies.directoryDigest(cached.map((file) => ({ name: file.path, sha256: file.sha256 })));
      const bytes = cached.reduce((sum, file) => sum + file.bytes, 0);
      results.push({ artifact: { name: plan.name, uri: pathToFileURL(at).href, sha256, bytes }, fetched: cached.reduce((sum, file) => sum + file.fetched, 0) });
    } else if (plan.kind === "kept") {
      const artifact = await dependencies.artifactOf(plan.name, new URL(plan.artifact.uri).pathname, signal);
      if (artifact.sha256 !== plan.artifact.sha256)
        throw new Error(`the hub cannot be reached, and what was downloaded before has changed [path=${plan.artifact.uri}, expected=${plan.artifact.sha256}, got=${artifact.sha256}]`);
      results.push({ artifact: plan.artifact, fetched: 0 });
    } else {
      if (plan.kind === "directory") await linkDirectory(at, plan.paths.map((path) => ({ path, target: join(plan.directory, path) })), "symbolic");
      const path = plan.kind === "file" ? plan.path : at;
      checkIfModel(dependencies, plan.name, path);
      results.push({ artifact: await dependencies.artifactOf(plan.name, path, signal), fetched: 0 });
    }
  }
  return results;
}

/** A broken model is the user's to mend, however it came. */
function checkIfModel({ checkModel }: DownloadDependencies, name: SourceName, directory: string): void {
  if (name !== "model") return;
  try {
    checkModel(directory);
  } catch (error) {
    if ((error as Error).name !== "CorruptError") throw error;
    throw new UserError(`the model cannot be used: ${messageOf(error)}. Get the file again`, {}, { cause: error });
  }
}
