import { DEFINITIONS } from "../../activities/forecast/definitions.js";
import { withRecordedLive } from "../../activities/evaluate/recorded-live.js";
import { Stage } from "../../activities/common/stage.js";
import type { RunConfig } from "../../core/config/schema.js";
import { UserError } from "../../core/errors.js";
import { inputsFrom, STAGES, type StageName, type StageResult } from "../../core/stages/results.js";

/**
 * Results of the stages before `name` that a run of this config left below `root`; the outputs of each decide where the
 * next one's result is. Throws UserError if one has not finished there.
 */
export async function earlierResults(name: StageName, config: RunConfig, root: string): Promise<StageResult[]> {
  const results: StageResult[] = [];
  for (const stage of STAGES.slice(0, STAGES.indexOf(name))) {
    const request = { config, inputs: inputsFrom(results), root };
    const opened = new Stage<StageName>(DEFINITIONS[stage], stage === "evaluate" ? await withRecordedLive(request) : request);
    const result = await opened.finished();
    if (result === null)
      throw new UserError(
        `${name} goes on from what ${stage} leaves, and that has not finished with this configuration here: run \`roslin stage ${stage}\` first`,
        { directory: opened.directory },
      );
    results.push(result);
  }
  return results;
}
