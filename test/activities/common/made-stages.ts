import { DEFINITIONS } from "../../../activities/forecast/definitions.js";
import { beginStage, finishStage, stageKey } from "../../../activities/common/stage.js";
import type { RunConfig } from "../../../core/config/schema.js";
import { inputsFrom, OUTPUTS, STAGES, type Artifact, type StageName, type StageResult } from "../../../core/stages/stage.js";
import { artifactOf, sha256, writeFileAtomic } from "../../../infra/disk/files.js";
import { lock } from "../../../infra/disk/lock.js";

/** Stages that are done, without what they did. */

export const files = { writeFileAtomic, lock, artifactOf };

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
    const directory = await beginStage(files, DEFINITIONS[stage], request);
    const outputs = outputsOf(stage, config, request.inputs);
    results.push(await finishStage(files, directory, { stage, outputs, metrics: { seconds: 75 } }));
    directories.push(directory);
  }
  return directories;
}
