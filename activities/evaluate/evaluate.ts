import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { compare, MODEL_NAMES, type Figure, type ModelName } from "../../core/stages/figures.js";
import type { RunConfig } from "../../core/config/schema.js";
import type { StageResult } from "../../core/stages/results.js";
import { openPrompt } from "../../core/text/open-prompt.js";
import { compileTemplate } from "../../infra/text/jinja.js";
import { promptTokens } from "../../infra/text/prompt-tokens.js";
import { readableTokenizer } from "../../infra/text/read-tokenizer.js";
import { hasAdapter } from "../../infra/weights/adapter-files.js";
import { readEosTokenIds, readModelConfig } from "../../infra/weights/read-model-config.js";
import { artifactOf, writeFileAtomic } from "../../infra/disk/files.js";
import { Stage, type Made, type StageContext, type StageRequest } from "../common/stage.js";
import { haveItemsChanged, openChoices } from "./choice/open-choices.js";
import { withTaskFiles } from "./choice/task-files.js";
import { defineEvaluation } from "./definition.js";
import type { EvaluateDependencies } from "./deps.js";
import { takeEarlierItems } from "./earlier-items.js";
import { evaluationOf, type Evaluation } from "./evaluation.js";
import { openJournal, type Journal } from "./journal.js";
import { bringLive, checkLive, chooseLive } from "./live.js";
import { checkRules, isComparedWithLive } from "./rules.js";
import type { EvaluatedModel, EvaluationTask, TaskInput } from "./task.js";
import { TASKS } from "./tasks.js";
import type { Verdict } from "../../core/stages/metrics.js";

/** Name of the directory in the stage's with the live model, while it is needed. */
const LIVE = "live";

/**
 * Compares the tuned model with its base on the held-out rows: every item of every task is done once with each. If rules compare
 * with the live model, it does the items of the tasks that these rules are about.
 */
export async function evaluate(
  dependencies: EvaluateDependencies,
  given: StageRequest,
  context: StageContext,
  tasks: readonly EvaluationTask[] = TASKS,
): Promise<StageResult<"evaluate">> {
  const whole = await withTaskFiles(given.config);
  checkRules(whole, tasks);
  const live = await chooseLive(dependencies.live, { ...given, config: whole }, context.signal);
  const config = { ...whole, evaluate: { ...whole.evaluate, live } };
  const stage = new Stage(defineEvaluation(tasks), { ...given, config });
  const isStale = (): Promise<boolean> => haveItemsChanged(config.evaluate.tasks, stage.directory, context.signal);
  const compareModels = async (): Promise<Made<"evaluate">> => {
    const started = performance.now();
    const paths = { base: stage.path("model"), tuned: stage.path("tuned"), live: join(stage.directory, LIVE) };
    const { test: split } = await dependencies.openTokens(stage.path("tokens"));
    const { evaluate: settings, preprocess } = config;
    const tokenizer = readableTokenizer(paths.base);
    const model = readModelConfig(paths.base);
    const prompt =
      tokenizer === null
        ? null
        : openPrompt(preprocess.prompt, promptTokens(tokenizer, readEosTokenIds(paths.base, model)), compileTemplate);
    const input = { split, settings, tokenizer, prompt, positions: model.shape.positions };
    const at = { directory: stage.directory, journal: join(stage.directory, "journal.jsonl"), model: paths.base };
    const say = (note: string): void => context.progress({ stage: "evaluate", done: 0, total: 0, unit: "items", note });
    const choices = await openChoices(dependencies.places, settings.tasks, at, { signal: context.signal, say });
    const plan = [...tasks, ...choices].map((task) => {
      const models: ModelName[] = live !== null && isComparedWithLive(task, config) ? ["base", "tuned", "live"] : ["base", "tuned"];
      return { task, items: task.items(input), models };
    });
    await takeEarlierItems(stage, at.journal);
    const journal = await openJournal(at.journal);
    const work: Work = { plan, input, journal, config };
    if (live !== null && itemsLeft(work, "live").length > 0)
      await checkLive(dependencies.live, config, live, { base: paths.base, directory: paths.live }, context.signal);
    const directoryOf = async (name: ModelName): Promise<string> => {
      if (name !== "live") return paths[name];
      const onNote = (note: string): void => sayProgress(work, context, note);
      onNote("bringing the live model");
      const onBytes = (): void => undefined;
      const to = { places: dependencies.places, directory: paths.live };
      return await bringLive(dependencies.live, { config, root: given.root }, live!, to, { signal: context.signal, onBytes, onNote });
    };
    for (const name of MODEL_NAMES) {
      const open = async (): Promise<OpenModel> => {
        const directory = await directoryOf(name);
        const model =
          name === "tuned" && hasAdapter(directory)
            ? await dependencies.openInference(paths.base, context.signal, directory)
            : await dependencies.openInference(directory, context.signal);
        return {
          name,
          score: (rows) => model.score(rows),
          generate: (prompts, options) => model.generate(prompts, options),
          close: () => model.close(),
        };
      };
      await evaluateModel(name, open, work, context);
    }
    const evaluation = await summarize(work);
    const path = join(stage.directory, "evaluation.json");
    await writeFileAtomic(path, `${JSON.stringify(evaluation, null, 2)}\n`);
    await rm(paths.live, { recursive: true, force: true });
    const { perplexity, gate, samples, heldOut } = evaluation;
    const metrics = { seconds: (performance.now() - started) / 1000, perplexity, gate, samples: samples.length, heldOut };
    return { outputs: [await artifactOf("report", path, context.signal)], metrics };
  };
  return await stage.run(context, compareModels, isStale);
}

type OpenModel = EvaluatedModel & { close(): Promise<void> };

interface Work {
  readonly plan: readonly PlannedTask[];
  readonly input: TaskInput;
  readonly journal: Journal;
  readonly config: RunConfig;
}

/** A task, and the models that do its items. */
interface PlannedTask {
  readonly task: EvaluationTask;
  readonly items: readonly unknown[];
  readonly models: readonly ModelName[];
}

/** What a model has done of a task so far: values by the item's index. */
function doneItems(journal: Journal, model: ModelName, { name }: EvaluationTask): ReadonlyMap<number, unknown> {
  return new Map(journal.lines.flatMap((line) => (line.model === model && line.task === name ? [[line.item, line.value]] : [])));
}

/** The items that a model has yet to do. */
function itemsLeft(
  { plan, journal }: Work,
  model: ModelName,
): { readonly task: EvaluationTask; readonly item: unknown; readonly index: number }[] {
  return plan.flatMap(({ task, items, models }) => {
    if (!models.includes(model)) return [];
    const done = doneItems(journal, model, task);
    return items.flatMap((item, index) => (done.has(index) ? [] : [{ task, item, index }]));
  });
}

function sayProgress({ plan, journal }: Work, context: StageContext, note: string): void {
  const total = plan.reduce((sum, { items, models }) => sum + models.length * items.length, 0);
  context.progress({ stage: "evaluate", done: journal.lines.length, total, unit: "items", note });
}

/** Does those items with a model that the journal lacks. The model is opened only if there are any. */
async function evaluateModel(name: ModelName, open: () => Promise<OpenModel>, work: Work, context: StageContext): Promise<void> {
  const left = itemsLeft(work, name);
  if (left.length === 0) return;
  const say = (note: string): void => sayProgress(work, context, note);

  say(`loading the ${name} model`);
  const model = await open();
  try {
    for (const { task, item, index } of left) {
      // not every task asks the model for something, and the model alone hears of the signal
      context.signal.throwIfAborted();
      say(`${task.measure} of the ${name} model`);
      await work.journal.add({ model: name, task: task.name, item: index, value: await task.run(model, item, work.input) });
    }
  } finally {
    await model.close();
  }
  say(`the ${name} model is done`);
}

async function summarize({ plan, input, journal, config }: Work): Promise<Evaluation> {
  const reports: Record<string, unknown> = {};
  const verdicts: Record<string, Verdict> = {};
  const figures: Figure[] = [];
  for (const { task, items, models } of plan) {
    const values = (model: ModelName): unknown[] => {
      const done = doneItems(journal, model, task);
      return items.map((_, index) => done.get(index));
    };
    const ofModels = { items, base: values("base"), tuned: values("tuned"), ...(models.includes("live") && { live: values("live") }) };
    const report = task.report(ofModels, input);
    if (report !== undefined) reports[task.name] = report;
    for (const measured of task.figures?.(ofModels, input) ?? []) {
      figures.push(compare(measured));
      // each takes up to a second, in which heartbeats are due
      await setImmediate();
    }
    if (task.verdict !== undefined) verdicts[task.name] = task.verdict(report, input.settings);
  }
  return evaluationOf(reports, verdicts, figures, config.evaluate);
}
