import type { ChoiceTask } from "../config/choice-task.js";
import { isTaskFile, type EvaluateSettings, type TaskName } from "../config/evaluate.js";
import { chosenSource, parseSource, placeOf } from "../config/source-ref.js";
import { formatOf } from "../rows/data-format.js";
import { BUILT_IN } from "./built-in.js";

/** The multiple-choice tasks of a run, in order, each with the source that its items come from. Throws Error for a description in a file that was not read before. */
export function chosenTasks(settings: EvaluateSettings["tasks"]): ChoiceTask[] {
  if (settings === null) return [];
  return settings.names.map((entry) => {
    if (isTaskFile(entry)) throw new Error(`a task's file was not read [got=${entry}]`);
    const task = typeof entry === "string" ? BUILT_IN[entry as TaskName] : entry;
    return { ...task, source: sourceOf(task, settings.data[task.name]) };
  });
}

/** The names of the figures of the chosen tasks, such as `hellaswag.acc_norm`; those of a description in a file that was not read are not among them. */
export function choiceMetrics(settings: EvaluateSettings["tasks"]): string[] {
  if (settings === null) return [];
  const tasks = chosenTasks({ ...settings, names: settings.names.filter((entry) => !isTaskFile(entry)) });
  return tasks.flatMap(({ name, metrics }) => metrics.map((metric) => `${name}.${metric}`));
}

/** Another source has the same configuration and split, unless it is one file or names its own. */
function sourceOf(task: ChoiceTask, given: string | undefined): string {
  if (given === undefined) return task.source;
  const { choice } = parseSource(given);
  const of = parseSource(task.source).choice;
  if (choice !== undefined || of === undefined || formatOf(placeOf(given)) !== null) return given;
  return chosenSource({ source: given, ...of });
}
