import type { RunConfig } from "../../core/config/schema.js";
import { choiceMetrics } from "../../core/benchmark/chosen.js";
import { nearest } from "../../core/config/nearest.js";
import { UserError } from "../../core/errors.js";
import type { EvaluationTask } from "./task.js";

/** What the gate's rules ask of an evaluation. */

/** Throws UserError for the first rule whose metric no task measures with this config, whose tasks' files were read. */
export function checkRules(config: RunConfig, tasks: readonly EvaluationTask[]): void {
  const measured = [...tasks.flatMap((task) => task.metrics?.(config) ?? []), ...choiceMetrics(config.evaluate.tasks)];
  for (const [index, { metric }] of config.evaluate.gate.rules.entries()) {
    if (measured.includes(metric)) continue;
    const guess = nearest(metric, measured);
    throw new UserError(
      `evaluate.gate.rules.${index} names a metric that this run does not measure${guess === null ? "." : `; did you mean ${guess}?`} Correct it, or set preprocess.testRows, evaluate.references or evaluate.tasks so that it is measured`,
      { got: metric, expected: measured.join(" ") },
    );
  }
}

/** Whether a rule compares a figure of a task with the live model: then that model does the task's items as well. */
export function isComparedWithLive(task: EvaluationTask, config: RunConfig): boolean {
  const names = task.metrics?.(config) ?? [];
  return config.evaluate.gate.rules.some(({ metric, against }) => against === "live" && names.includes(metric));
}
