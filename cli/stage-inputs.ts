import { downloadDefinition } from "../activities/download/index.js";
import { evaluateDefinition } from "../activities/evaluate/index.js";
import { preprocessDefinition } from "../activities/preprocess/index.js";
import { publishDefinition } from "../activities/publish/index.js";
import { finishedStage, stageDirectory, type StageDefinition } from "../activities/stage.js";
import { trainDefinition } from "../activities/train/index.js";
import type { RunConfig } from "../core/config/schema.js";
import { UserError } from "../core/errors.js";
import { inputsFrom, STAGES, type StageName, type StageResult } from "../core/stage.js";

const DEFINITIONS: Readonly<Record<StageName, StageDefinition>> = {
  download: downloadDefinition,
  preprocess: preprocessDefinition,
  train: trainDefinition,
  evaluate: evaluateDefinition,
  publish: publishDefinition,
};

/**
 * Results of the stages before `name` that this config's run left below `root`: each one's outputs decide where the
 * next one's lie. Throws UserError for one that has not finished there.
 */
export async function earlierResults(name: StageName, config: RunConfig, root: string): Promise<StageResult[]> {
  const results: StageResult[] = [];
  for (const stage of STAGES.slice(0, STAGES.indexOf(name))) {
    const directory = stageDirectory(DEFINITIONS[stage], { config, inputs: inputsFrom(results), root });
    const result = await finishedStage(directory);
    if (result === null)
      throw new UserError(
        `${name} goes on from what ${stage} leaves, and that has not finished with this configuration here: run \`roslin stage ${stage}\` first`,
        { directory },
      );
    results.push(result);
  }
  return results;
}
