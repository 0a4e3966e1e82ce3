import type { StageDefinition } from "../common/definition.js";
import type { EvaluationTask } from "./task.js";
import { TASKS } from "./tasks.js";

/** What an evaluation with these tasks depends on. */
export function defineEvaluation(tasks: readonly EvaluationTask[]): StageDefinition<"evaluate"> {
  const versions = Object.fromEntries(tasks.map(({ name, version }) => [name, version]));
  return {
    name: "evaluate",
    version: 5,
    inputs: ["model", "tokens", "tuned"],
    // what ends an answer; left out for the prompt that every run had before there were others, so that its key stays
    settings: ({ evaluate, preprocess: { prompt } }) => ({ ...evaluate, versions, ...(prompt === "dolly" ? {} : { prompt }) }),
  };
}

/** What an evaluation depends on. */
export const evaluateDefinition: StageDefinition<"evaluate"> = defineEvaluation(TASKS);
