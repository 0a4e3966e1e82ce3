import { join } from "node:path";
import { compare, type Figure, type ModelName } from "../../core/stages/figures.js";
import type { StageResult } from "../../core/stages/results.js";
import { openPrompt } from "../../core/text/open-prompt.js";
import type { InferenceModel } from "../../engines/inference.js";
import { compileTemplate } from "../../infra/text/jinja.js";
import { promptTokens } from "../../infra/text/prompt-tokens.js";
import { readableTokenizer } from "../../infra/text/read-tokenizer.js";
import { hasAdapter } from "../../infra/weights/adapter-files.js";
import { readEosTokenIds, readModelConfig } from "../../infra/weights/read-model-config.js";
import { artifactOf, writeFileAtomic } from "../../infra/disk/files.js";
import { Stage, type StageContext, type StageRequest } from "../common/stage.js";
import { haveItemsChanged, openChoices } from "./choice/open-choices.js";
import { withTaskFiles } from "./choice/task-files.js";
import { defineEvaluation } from "./definition.js";
import type { EvaluateDependencies } from "./deps.js";
import { evaluationOf, type Evaluation } from "./evaluation.js";
import { openJournal, type Journal } from "./journal.js";
import type { EvaluatedModel, EvaluationTask, TaskInput } from "./task.js";
import { TASKS } from "./tasks.js";
import type { Verdict } from "../../core/stages/metrics.js";

/** Compares the tuned model with its base on the held-out rows: every item of every task is done once with each. */
export async function evaluate(
  dependencies: EvaluateDependencies,
  given: StageRequest,
  context: StageContext,
  tasks: readonly EvaluationTask[] = TASKS,
): Promise<StageResult<"evaluate">> {
  const request = { ...given, config: await withTaskFiles(given.config) };
  const stage = new Stage(defineEvaluation(tasks), request);
  if (await haveItemsChanged(request.config.evaluate.tasks, stage.directory, context.signal)) await stage.forget();
  return await stage.run(context, async () => {
    const started = performance.now();
    const paths = { base: stage.path("model"), tuned: stage.path("tuned") };
    const { test: split } = await dependencies.openTokens(stage.path("tokens"));
    const { evaluate: settings, preprocess } = request.config;
    const tokenizer = readableTokenizer(paths.base);
    const prompt =
      tokenizer === null
        ? null
        : openPrompt(preprocess.prompt, promptTokens(tokenizer, readEosTokenIds(paths.base, readModelConfig(paths.base))), compileTemplate);
    const input = { split, settings, tokenizer, prompt };
    const at = { directory: stage.directory, journal: join(stage.directory, "journal.jsonl"), model: paths.base };
    const say = (note: string): void => context.progress({ stage: "evaluate", done: 0, total: 0, unit: "items", note });
    const choices = await openChoices(dependencies.places, settings.tasks, at, { signal: context.signal, say });
    const plan = [...tasks, ...choices].map((task) => ({ task, items: task.items(input) }));
    const journal = await openJournal(at.journal);
    const openOne = (name: keyof typeof paths): Promise<InferenceModel> =>
      name === "tuned" && hasAdapter(paths.tuned)
        ? dependencies.openInference(paths.base, context.signal, paths.tuned)
        : dependencies.openInference(paths[name], context.signal);
    for (const name of ["base", "tuned"] as const) {
      const open = async (): Promise<OpenModel> => {
        const model = await openOne(name);
        return { name, score: (rows) => model.score(rows), generate: (prompt) => model.generate(prompt), close: () => model.close() };
      };
      await evaluateModel(name, open, { plan, input, journal }, context);
    }
    const evaluation = summarize({ plan, input, journal });
    const path = join(stage.directory, "evaluation.json");
    await writeFileAtomic(path, `${JSON.stringify(evaluation, null, 2)}\n`);
    const { perplexity, gate, samples, heldOut } = evaluation;
    const metrics = { seconds: (performance.now() - started) / 1000, perplexity, gate, samples: samples.length, heldOut };
    return { outputs: [await artifactOf("report", path, context.signal)], metrics };
  });
}

type OpenModel = EvaluatedModel & { close(): Promise<void> };

interface Work {
  readonly plan: readonly { readonly task: EvaluationTask; readonly items: readonly unknown[] }[];
  readonly input: TaskInput;
  readonly journal: Journal;
}

/** What a model has done of a task so far: values by the item's index. */
function doneItems(journal: Journal, model: ModelName, { name }: EvaluationTask): ReadonlyMap<number, unknown> {
  return new Map(journal.lines.flatMap((line) => (line.model === model && line.task === name ? [[line.item, line.value]] : [])));
}

/** Does those items with a model that the journal lacks. The model is opened only if there are any. */
async function evaluateModel(
  name: ModelName,
  open: () => Promise<OpenModel>,
  { plan, input, journal }: Work,
  context: StageContext,
): Promise<void> {
  const left = plan.flatMap(({ task, items }) => {
    const done = doneItems(journal, name, task);
    return items.flatMap((item, index) => (done.has(index) ? [] : [{ task, item, index }]));
  });
  if (left.length === 0) return;
  const total = 2 * plan.reduce((sum, { items }) => sum + items.length, 0);
  const say = (note: string): void => context.progress({ stage: "evaluate", done: journal.lines.length, total, unit: "items", note });

  say(`loading the ${name} model`);
  const model = await open();
  try {
    for (const { task, item, index } of left) {
      // not every task asks the model for something, and the model alone hears of the signal
      context.signal.throwIfAborted();
      say(`${task.measure} of the ${name} model`);
      await journal.add({ model: name, task: task.name, item: index, value: await task.run(model, item, input) });
    }
  } finally {
    await model.close();
  }
  say(`the ${name} model is done`);
}

function summarize({ plan, input, journal }: Work): Evaluation {
  const reports: Record<string, unknown> = {};
  const verdicts: Record<string, Verdict> = {};
  const figures: Figure[] = [];
  for (const { task, items } of plan) {
    const values = (model: ModelName): unknown[] => {
      const done = doneItems(journal, model, task);
      return items.map((_, index) => done.get(index));
    };
    const ofModels = { items, base: values("base"), tuned: values("tuned") };
    const report = task.report(ofModels, input);
    reports[task.name] = report;
    figures.push(...(task.figures?.(ofModels, input) ?? []).map(compare));
    if (task.verdict !== undefined) verdicts[task.name] = task.verdict(report, input.settings);
  }
  return evaluationOf(reports, verdicts, figures);
}
