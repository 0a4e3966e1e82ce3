import type { ChoiceTask } from "../config/choice-task.js";
import type { ChoiceItem } from "./item.js";

/** What is measured of a multiple-choice task. */
export type ChoiceMetric = ChoiceTask["metrics"][number];

/** 1 if the choice that a model takes is the right one, else 0. Of choices that are equally likely the first one counts. */
export function isRight(
  metric: ChoiceMetric,
  { lengths, answer }: Pick<ChoiceItem, "lengths" | "answer">,
  logLikelihoods: readonly number[],
): number {
  const values = metric === "acc" ? logLikelihoods : logLikelihoods.map((value, choice) => value / lengths[choice]!);
  return values.indexOf(Math.max(...values)) === answer ? 1 : 0;
}
