import { rm } from "node:fs/promises";
import { join } from "node:path";
import { createRowMaker } from "../../../core/benchmark/choice-rows.js";
import { chosenTasks } from "../../../core/benchmark/chosen.js";
import type { ChoiceItem } from "../../../core/benchmark/item.js";
import type { ChoiceTask } from "../../../core/config/choice-task.js";
import type { EvaluateSettings } from "../../../core/config/evaluate.js";
import { parseSource } from "../../../core/config/source-ref.js";
import { UserError } from "../../../core/errors.js";
import type { Artifact } from "../../../core/stages/results.js";
import { readTokenizer } from "../../../infra/text/read-tokenizer.js";
import { readModelConfig } from "../../../infra/weights/read-model-config.js";
import type { Places } from "../../download/source-plan.js";
import type { EvaluationTask } from "../task.js";
import { choiceEvaluation, questionOf, type Question } from "./choice-evaluation.js";
import { FetchedData, fetchTaskData, placeOfData, readItems, type FetchContext } from "./task-data.js";

/** The multiple-choice tasks of an evaluation, with their items. */

/** Where the items of an evaluation's tasks lie: below its directory. */
const DATA = "task-data";

/** Whether items that lie on this machine have changed since an evaluation used them. */
export async function haveItemsChanged(settings: EvaluateSettings["tasks"], directory: string, signal: AbortSignal): Promise<boolean> {
  const local = chosenTasks(settings).filter(({ source }) => parseSource(source).kind === "file");
  if (local.length === 0) return false;
  const fetched = await FetchedData.open(directory);
  for (const task of local) if ((await fetched.unchanged(task, signal)) === null) return true;
  return false;
}

/**
 * Fetches the items of all tasks, goes through every one and makes its rows for the model in `model`; `journal` is removed if it
 * has values of other items. Throws UserError that names task and item.
 */
export async function openChoices(
  places: Places,
  settings: EvaluateSettings["tasks"],
  at: { readonly directory: string; readonly journal: string; readonly model: string },
  context: FetchContext,
): Promise<EvaluationTask[]> {
  const tasks = chosenTasks(settings);
  if (tasks.length === 0) return [];
  const row = createRowMaker({ tokenizer: tokenizerFor(at.model), positions: readModelConfig(at.model).shape.positions });
  const fetched = await FetchedData.open(at.directory);
  const opened: EvaluationTask[] = [];
  for (const task of tasks) {
    const data = await dataOf(places, task, fetched, at, context);
    const items = await readItems(task, data, settings!.limit, context.signal);
    const questions = items.map((item, index) => openQuestion(task, item, index, row));
    opened.push(choiceEvaluation(task, questions, { source: placeOfData(task, data), sha256: data.sha256 }));
  }
  return opened;
}

async function dataOf(
  places: Places,
  task: ChoiceTask,
  fetched: FetchedData,
  at: { readonly directory: string; readonly journal: string },
  context: FetchContext,
): Promise<Artifact> {
  const before = await fetched.unchanged(task, context.signal);
  if (before !== null) return before;
  const data = await fetchTaskData(places, join(at.directory, DATA), task, context);
  await fetched.add(task, data, () => rm(at.journal, { force: true }));
  return data;
}

function openQuestion(task: ChoiceTask, item: ChoiceItem, index: number, row: ReturnType<typeof createRowMaker>): Question {
  try {
    return questionOf(
      item,
      item.pairs.map(({ context, continuation }) => row(context, continuation, index)),
    );
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`an item of the task ${task.name} cannot be scored: ${error.message}`, { item: index + 1 }, { cause: error });
  }
}

function tokenizerFor(model: string): ReturnType<typeof readTokenizer> {
  try {
    return readTokenizer(model);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`evaluate.tasks needs the model's tokenizer: ${error.message}`, {}, { cause: error });
  }
}
