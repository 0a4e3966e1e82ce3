import { someOf } from "../../core/dataset/layout.js";
import type { DownloadMetrics } from "../../core/stages/metrics.js";
import type { Progress, StageResult } from "../../core/stages/results.js";
import { Stage, type StageContext, type StageRequest } from "../common/stage.js";
import { downloadedModel } from "./adapter-base.js";
import { checkAdapters, withBase } from "./adapter-source.js";
import { checkTemplate, checkTokenizer } from "./check-prompt.js";
import { getSource } from "./fetch-plan.js";
import {
  describePlan,
  pathsOf,
  planLocal,
  planRemote,
  sourceOf,
  type Got,
  type Places,
  type SourceName,
  type SourcePlan,
} from "./source-plan.js";
import { downloadDefinition } from "./definition.js";

/** Milliseconds between reports: every wait in here is bounded, so that a report also says that it lives. */
const REPORT_MS = 1000;

type Report = (change: Partial<Progress>) => void;

/**
 * Gets model and dataset. The stage's key knows only the names of its sources, so what they hold is looked at on every
 * call: local files are digested, a branch is resolved to its commit, and only an equal outcome counts as reused.
 */
export async function download(places: Places, request: StageRequest, context: StageContext): Promise<StageResult<"download">> {
  const stage = new Stage(downloadDefinition, request);
  let progress: Progress = { stage: "download", done: 0, total: 0, unit: "bytes" };
  const report: Report = (change) => void (progress = { ...progress, ...change });
  const ticking = setInterval(() => context.progress(progress), REPORT_MS);
  try {
    const waiting: StageContext = { signal: context.signal, progress: ({ note = "" }) => report({ note }) };
    return await stage.locked(waiting, () => work(places, stage, request, context.signal, report));
  } finally {
    clearInterval(ticking);
    context.progress(progress);
  }
}

async function work(
  places: Places,
  stage: Stage<"download">,
  request: StageRequest,
  signal: AbortSignal,
  report: Report,
): Promise<StageResult<"download">> {
  const started = performance.now();
  const finished = await stage.finished();
  checkTemplate(request.config);
  const plans = await planSources(places, request, finished, signal, report);
  const model = plans.find(({ name }) => name === "model")!;
  const looked = await checkTokenizer(request.config, model, signal);
  await checkAdapters(request.config, model, signal);
  const got = await getSources(stage.directory, plans, signal, report);
  const outputs = got.map(({ artifact }) => artifact);
  if (finished !== null && JSON.stringify(finished.outputs) === JSON.stringify(outputs)) return finished;
  const metrics = {
    seconds: (performance.now() - started) / 1000,
    bytes: outputs.reduce((sum, output) => sum + output.bytes, 0),
    bytesFetched: got.reduce((sum, { fetched }) => sum + fetched, looked.fetched),
    ...datasetFiles(plans),
    ...Object.fromEntries(outputs.flatMap(({ name, origin }) => (origin === undefined ? [] : [[`${name}From`, origin.uri]]))),
  };
  return await stage.finish({ outputs, metrics });
}

/** The files of a dataset that has several, and what was chosen of it: this decides what is trained on. */
function datasetFiles(plans: readonly SourcePlan[]): Pick<DownloadMetrics, "datasetFiles" | "datasetChoice"> {
  const plan = plans.find(({ name }) => name === "dataset")!;
  const names = pathsOf(plan);
  const choice = "choice" in plan ? plan.choice : null;
  return {
    ...(choice === null ? {} : { datasetChoice: choice }),
    ...(names.length > 1 || (choice !== null && names.length > 0) ? { datasetFiles: someOf(names) } : {}),
  };
}

/** Plans both sources, local ones first: what can be wrong without a network is said without it. */
async function planSources(
  anywhere: Places,
  { config, root }: StageRequest,
  finished: StageResult | null,
  signal: AbortSignal,
  report: Report,
): Promise<SourcePlan[]> {
  // this run's stages may lie elsewhere than others
  const downloaded: Places["downloadedModel"] = async (digest) =>
    (await downloadedModel(root, digest)) ?? (await anywhere.downloadedModel(digest));
  const places: Places = { ...anywhere, downloadedModel: downloaded };
  const local = {
    model: await planLocal(places, "model", sourceOf(config, "model")),
    dataset: await planLocal(places, "dataset", sourceOf(config, "dataset")),
  };
  const plan = async (name: SourceName): Promise<SourcePlan> => {
    const source = sourceOf(config, name);
    report({ note: `looking at ${source}` });
    const onNote = (note: string): void => report({ note });
    const found = local[name] ?? (await planRemote(places, name, source, finished, signal, onNote));
    return await withBase(places, found, finished, signal, onNote);
  };
  return [await plan("model"), await plan("dataset")];
}

async function getSources(directory: string, plans: readonly SourcePlan[], signal: AbortSignal, report: Report): Promise<Got[]> {
  const total = plans.reduce((sum, plan) => sum + remoteBytes(plan), 0);
  // what comes from one kind of place goes to one disk
  const missing = new Map<string, number>();
  for (const plan of plans) {
    if (plan.kind !== "remote") continue;
    const { protocol } = new URL(plan.remote.origin.uri);
    const bytes = (missing.get(protocol) ?? 0) + (await plan.remote.missing(plan.files));
    missing.set(protocol, bytes);
    await plan.remote.checkSpace(bytes);
  }
  const results: Got[] = [];
  let before = 0;
  for (const plan of plans) {
    report({ total, done: before, note: describePlan(plan) });
    const start = before;
    const events = { signal, onBytes: (done: number) => report({ done: start + done }), onNote: (note: string) => report({ note }) };
    results.push(await getSource(directory, plan, events));
    before += remoteBytes(plan);
  }
  report({ done: total });
  return results;
}

function remoteBytes(plan: SourcePlan): number {
  return plan.kind === "remote" ? plan.files.reduce((sum, file) => sum + file.bytes, 0) : 0;
}
