import type { RunConfig } from "../../core/config/schema.js";
import type { Measured, ModelName, OfModels } from "../../core/stages/figures.js";
import type { Verdict } from "../../core/stages/metrics.js";
import type { TokenSplit } from "../../core/rows/token-rows.js";
import type { Prompt } from "../../core/text/prompt-kind.js";
import type { Tokenizer } from "../../core/text/tokenizer.js";
import type { InferenceModel } from "../../engines/inference.js";

/**
 * One thing that is measured of the base and of the tuned model. To add one, write a file beside this one and a line in
 * `tasks.ts`; nothing else knows the tasks. The stage does every item of every task once with each model, keeps the values
 * in its journal, goes on after a kill with the items that are left, and says how far it is.
 *
 * `evaluation.json` then has the report as `tasks.<name>`, and the model card and the report page show it. A task with a
 * verdict takes part in the gate: its verdict stands in `gate.tasks.<name>`, and `latest.json` moves only if all of them
 * pass. Rules of the configuration judge any figure whose name `metrics` states. (Perplexity and samples are older than `tasks`: `evaluation.ts` puts their reports at the top of the file.)
 *
 * Items, values and reports must depend on nothing but the arguments: a resumed evaluation publishes the same bytes. Values
 * and reports must be JSON: no NaN, no typed arrays.
 */
export interface EvaluationTask<Item = unknown, Value = unknown, Report = unknown> {
  /** unique among the tasks; part of the stage's key */
  readonly name: string;
  /** raised whenever the same models and rows would give other items, values or another report; part of the stage's key */
  readonly version: number;
  /** what progress calls the values: "<measure> of the base model" */
  readonly measure: string;
  /** What each model does, in this order: one item is done or not, so it takes seconds, not minutes. */
  items(input: TaskInput): readonly Item[];
  /** Does one item with one model. */
  run(model: EvaluatedModel, item: Item, input: TaskInput): Promise<Value>;
  /** Compares the two models; undefined: the settings ask for nothing of this. */
  report(values: TaskValues<Item, Value>, input: TaskInput): Report;
  /** Names of the figures that it may give in a run of this config; the gate's rules may name these. Left out when it gives none. */
  metrics?(config: RunConfig): readonly string[];
  /**
   * Figures of the models, item by item: `evaluation.json` has each with its interval as `figures`, and gate, report and card read them.
   * The live model does the task's items only if a rule compares one of its figures with that model; else `live` is absent.
   */
  figures?(values: TaskValues<Item, Value>, input: TaskInput): readonly Measured[];
  /** Whether the tuned model may become the latest one, as far as this task can tell; left out when the task only reports. */
  verdict?(report: Report, settings: EvaluateSettings): Verdict;
}

/** The part of the configuration that tasks read. */
export type EvaluateSettings = RunConfig["evaluate"];

/** What is the same for both models. */
export interface TaskInput {
  /** the held-out rows */
  readonly split: TokenSplit;
  readonly settings: EvaluateSettings;
  /** null when the model has no tokenizer, because its rows came as tokens */
  readonly tokenizer: Tokenizer | null;
  /** what the rows were written with; null when the model has no tokenizer */
  readonly prompt: Prompt | null;
  /** of both models */
  readonly positions: number;
}

/** A model as tasks see it: the stage opens and closes it. */
export interface EvaluatedModel extends Pick<InferenceModel, "score" | "generate"> {
  readonly name: ModelName;
}

/** A task's items, and what each model did with them: lists of one length. */
export interface TaskValues<Item, Value> extends OfModels<readonly Value[]> {
  readonly items: readonly Item[];
}
