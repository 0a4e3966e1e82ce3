import { TASK_NAMES } from "../../core/config/evaluate.js";
import { BUILT_IN } from "../../core/benchmark/built-in.js";
import { count } from "../../core/units.js";
import type { ChoiceReport } from "../evaluate/choice/choice-evaluation.js";
import { figureNamed, type Evaluation } from "../evaluate/evaluation.js";

/** What the model card and the report page say of further tasks. */

type Figures = Pick<Evaluation, "figures">;

/** A task's report in words, where its kind is known; any other as it is. */
export function taskWords(name: string, report: unknown, evaluation: Figures): string {
  if (!isChoiceReport(report)) return JSON.stringify(report);
  const metrics = (["acc", "acc_norm"] as const).flatMap((metric) => {
    const shares = report[metric];
    if (shares === undefined) return [];
    const ends = figureNamed(evaluation, `${name}.${metric}`)?.intervals;
    const said = (model: "base" | "tuned"): string => {
      const [low, high] = ends?.[model] ?? [null, null];
      return `${shares[model].toFixed(4)}${low === null || high === null ? "" : ` (${low.toFixed(4)} to ${high.toFixed(4)})`}`;
    };
    return [`${metric} ${said("base")} before, ${said("tuned")} after`];
  });
  return `${metrics.join("; ")}; ${count(report.items, "item")} of ${report.data.source}`;
}

/** The geometric mean of the seven tasks of Dolly's table, as a row of name and value: of acc_norm where a task has it, else of acc. None if one was not measured. */
export function tableMean(evaluation: Figures): [string, string][] {
  const figures = TASK_NAMES.map((name) => figureNamed(evaluation, `${name}.${BUILT_IN[name].metrics.at(-1)!}`));
  const mean = (model: "base" | "tuned"): number =>
    Math.exp(figures.reduce((sum, figure) => sum + Math.log(figure?.[model] ?? Number.NaN), 0) / figures.length);
  const [base, tuned] = [mean("base"), mean("tuned")];
  if (Number.isNaN(base) || Number.isNaN(tuned)) return [];
  return [["geometric mean of the seven tasks", `${base.toFixed(4)} before, ${tuned.toFixed(4)} after`]];
}

function isChoiceReport(report: unknown): report is ChoiceReport {
  return (
    typeof report === "object" && report !== null && "items" in report && "data" in report && ("acc" in report || "acc_norm" in report)
  );
}
