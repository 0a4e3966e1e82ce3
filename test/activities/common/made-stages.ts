import { DEFINITIONS } from "../../../activities/forecast/definitions.js";
import { stageKey, type StageDefinition } from "../../../activities/common/definition.js";
import { Stage, type StageRequest } from "../../../activities/common/stage.js";
import type { RunConfig } from "../../../core/config/schema.js";
import { inputsFrom, OUTPUTS, STAGES, type Artifact, type StageName, type StageResult } from "../../../core/stages/results.js";
import type { StageMetrics } from "../../../core/stages/metrics.js";
import { sha256 } from "../../../infra/disk/files.js";

/** Stages that are done, without what they did. */

/** Leaves what a stage leaves that has finished with this; figures that a test does not look at are missing. */
export async function leave(
  definition: StageDefinition,
  request: StageRequest,
  { metrics = {}, ...made }: { readonly outputs: readonly Artifact[]; readonly metrics?: object; readonly stateDigest?: string },
): Promise<{ readonly directory: string; readonly result: StageResult }> {
  const stage = new Stage(definition, request);
  await stage.begin();
  const result = await stage.finish({ ...made, metrics: { seconds: 1, ...metrics } as StageMetrics[StageName] });
  return { directory: stage.directory, result };
}

/** Outputs that depend on all that the stage's key does. */
function outputsOf(stage: StageName, config: RunConfig, inputs: readonly Artifact[]): Artifact[] {
  const key = stageKey(DEFINITIONS[stage], { config, inputs });
  return OUTPUTS[stage].map((name) => ({ name, uri: "s3://elsewhere/x", sha256: sha256(`${key} ${name}`), bytes: 1 }));
}

/** Leaves what a run leaves that got as far as `until`; resolves to its stages' directories. */
export async function finish(config: RunConfig, place: string, until: StageName = "publish"): Promise<string[]> {
  const directories: string[] = [];
  const results: StageResult[] = [];
  for (const stage of STAGES.slice(0, STAGES.indexOf(until) + 1)) {
    const request = { config, inputs: inputsFrom(results), root: place };
    const outputs = outputsOf(stage, config, request.inputs);
    const { directory, result } = await leave(DEFINITIONS[stage], request, { outputs, metrics: { seconds: 75 } });
    results.push(result);
    directories.push(directory);
  }
  return directories;
}
