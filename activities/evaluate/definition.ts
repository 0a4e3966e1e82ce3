import type { RunConfig } from "../../core/config/schema.js";
import { sourceIdentity } from "../download/definition.js";
import { CHOICE_VERSION } from "./choice/choice-evaluation.js";
import { comparesWithLive } from "../../core/stages/gate.js";
import type { StageDefinition } from "../common/definition.js";
import { publicLive } from "./evaluation.js";
import type { EvaluationTask } from "./task.js";
import { TASKS } from "./tasks.js";

/** What an evaluation with these tasks depends on. */
export function defineEvaluation(tasks: readonly EvaluationTask[]): StageDefinition<"evaluate"> {
  const versions = Object.fromEntries(tasks.map(({ name, version }) => [name, version]));
  return {
    name: "evaluate",
    version: 5,
    inputs: ["model", "tokens", "tuned"],
    settings({ evaluate, preprocess: { prompt } }) {
      const { overrideWithinHours: _, ...gate } = evaluate.gate;
      return {
        ...evaluate,
        ...choiceSettings(evaluate.tasks),
        live: comparesWithLive(evaluate) && evaluate.live !== null ? publicLive(evaluate.live) : null,
        gate,
        versions: { ...versions, ...(evaluate.tasks !== null && { choice: CHOICE_VERSION }) },
        // what ends an answer; left out for the prompt that every run had before there were others, so that its key stays
        ...(prompt === "dolly" ? {} : { prompt }),
      };
    },
  };
}

/** What an evaluation depends on. */
export const evaluateDefinition: StageDefinition<"evaluate"> = defineEvaluation(TASKS);

/** The tasks as the published chain of digests names them: places on a machine are nobody's business. */
function choiceSettings(tasks: RunConfig["evaluate"]["tasks"]): object {
  if (tasks === null) return {};
  const names = tasks.names.map((entry) => (typeof entry === "string" ? entry : { ...entry, source: sourceIdentity(entry.source) }));
  const data = Object.fromEntries(Object.entries(tasks.data).map(([name, source]) => [name, sourceIdentity(source)]));
  return { tasks: { ...tasks, names, data } };
}
