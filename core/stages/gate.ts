import type { RunConfig } from "../config/schema.js";
import { shortFigure } from "../units.js";
import type { Figure } from "./figures.js";
import type { Gate, Rule, RuleVerdict } from "./metrics.js";

/** The rules of the gate, judged by an evaluation's figures. */

/** Whether a gate compares with the model that `latest.json` names. */
export function comparesWithLive({ gate }: Pick<RunConfig["evaluate"], "gate">): boolean {
  return gate.rules.some(({ against }) => against === "live");
}

/** Judges a rule. One whose figure was not measured, or whose quotient is not finite, is not passed. */
export function judgeRule(rule: Rule, figures: readonly Figure[]): RuleVerdict {
  const figure = figures.find(({ metric }) => metric === rule.metric);
  if (figure === undefined || figure.items === 0) return { ...rule, items: 0, ratio: null, interval: null, judged: true, passed: false };
  const ratio = figure.ratio[rule.against] ?? null;
  const interval = figure.intervals?.ratio[rule.against] ?? null;
  const own = quotient(figure, rule.against);
  // an end that is not finite lies above all others
  const [least, most] = rule.confident
    ? (interval ?? [null, null]).map((end) => (interval === null ? null : (end ?? Infinity)))
    : [own, own];
  const passed = least != null && most != null && least >= (rule.atLeast ?? -Infinity) && most <= (rule.atMost ?? Infinity);
  return { ...rule, items: figure.items, ratio, interval, judged: true, passed };
}

/** The quotient of two figures; Infinity: the other model has 0 and the tuned one more; null: it is not finite otherwise. */
function quotient(figure: Figure, against: Rule["against"]): number | null {
  const ratio = figure.ratio[against] ?? null;
  return ratio === null && figure[against] === 0 && figure.tuned !== null && figure.tuned > 0 ? Infinity : ratio;
}

/** "perplexity 1.2000 times the live model's, at most 1": what came, and what a rule asks for. */
export function ruleWords({ metric, against, atMost, atLeast, confident, items, ratio, interval }: RuleVerdict): string {
  const bounds = [...(atLeast === undefined ? [] : [`at least ${atLeast}`]), ...(atMost === undefined ? [] : [`at most ${atMost}`])];
  const asked = `${confident ? "whole interval " : ""}${bounds.join(" and ")}`;
  if (items === 0) return `${metric} not measured, because no item has it (${asked} times the ${against} model's)`;
  const ends =
    interval === null ? (confident ? " (no interval: fewer than two items)" : "") : ` (${interval.map(shortFigure).join(" to ")})`;
  return `${metric} ${shortFigure(ratio)}${ends} times the ${against} model's, ${asked}`;
}

/** Why a gate was not passed, in a few words; null: it was. `labels`: those that the perplexities are of. */
export function failureWords({ passed, ratio, maxPerplexityRatio, rules = [], tasks = {} }: Gate, labels: number): string | null {
  if (passed) return null;
  // the ratio of infinite perplexities is null in the file
  const isWorse = labels > 0 && !(ratio !== null && ratio <= maxPerplexityRatio);
  const own = `perplexity ${shortFigure(ratio)} times the base model's, at most ${maxPerplexityRatio}`;
  return [
    ...(isWorse ? [own] : []),
    ...rules.flatMap((rule) => (rule.passed ? [] : [ruleWords(rule)])),
    ...Object.entries(tasks).flatMap(([name, verdict]) => (verdict.passed ? [] : [`${name} not passed`])),
  ].join("; ");
}
