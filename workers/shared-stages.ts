import { join } from "node:path";
import { localArtifacts, shareArtifacts, SHARED } from "../activities/common/shared-artifacts.js";
import type { StageContext, StageRequest } from "../activities/common/stage.js";
import type { Artifact, StageName } from "../core/stages/results.js";
import type { SharedFiles } from "../infra/sources/shared-files.js";
import { trainDeps } from "./train-deps.js";

/** Stages of a run that several machines share: each may find its inputs on another one, and leaves its outputs to all. */

/** Runs a stage, or a part of it, on inputs of this machine; of what it leaves, the other machines get copies. In other runs it just runs it. */
export async function onAnyMachine<Result extends { readonly outputs: readonly Artifact[] } | null>(
  stage: StageName,
  request: StageRequest,
  context: StageContext,
  work: (request: StageRequest) => Promise<Result>,
): Promise<Result> {
  const shared = sharedBy(stage, request, context);
  if (shared === null) return await work(request);
  const result = await work(await hereWith(shared, request));
  // what is published is for everybody already
  if (stage !== "publish") await shareArtifacts(shared, result?.outputs ?? [], context.signal);
  return result;
}

/** The same request, with inputs that lie on this machine. */
export async function onThisMachine(stage: StageName, request: StageRequest, context: StageContext): Promise<StageRequest> {
  const shared = sharedBy(stage, request, context);
  return shared === null ? request : await hereWith(shared, request);
}

async function hereWith(shared: SharedFiles, request: StageRequest): Promise<StageRequest> {
  return { ...request, inputs: await localArtifacts(shared, request.root, request.inputs) };
}

function sharedBy(stage: StageName, { config, root }: StageRequest, { signal, progress }: StageContext): SharedFiles | null {
  const { store } = config.train.workers;
  if (store === null) return null;
  let done = 0;
  const say = (note: string): void => progress({ stage, done, total: done, unit: "bytes", note });
  const onBytes = (bytes: number): void => {
    done = bytes;
    say("what the machines of the run share travels");
  };
  return trainDeps.openShared(store, "", { journals: join(root, SHARED, "uploads"), signal, onBytes, onNote: say });
}
