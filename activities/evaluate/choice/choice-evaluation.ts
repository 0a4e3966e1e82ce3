import { isRight, type ChoiceMetric } from "../../../core/benchmark/accuracy.js";
import type { ChoiceItem } from "../../../core/benchmark/item.js";
import type { ChoiceTask } from "../../../core/config/choice-task.js";
import { UserError } from "../../../core/errors.js";
import type { TokenRow } from "../../../core/rows/token-rows.js";
import type { Measured, OfModels } from "../../../core/stages/figures.js";
import type { EvaluationTask } from "../task.js";

/** Raised whenever the same items would give other log-likelihoods or another report; part of the stage's key. */
export const CHOICE_VERSION = 1;

/** Tokens of a batch, unless one question has more: what is in memory at once stays small. */
const BATCH_TOKENS = 2048;
/** Questions of a batch, at most: what a kill costs stays small. */
const BATCH_QUESTIONS = 16;

/** A question with a row for each choice, whose loss is on the choice. */
export interface Question extends ChoiceItem {
  readonly rows: readonly TokenRow[];
}

/** Questions [start, end) of a task. */
interface Batch {
  readonly start: number;
  readonly end: number;
}

/** What `evaluation.json` has of a multiple-choice task: shares of right answers. */
export interface ChoiceReport extends Partial<Readonly<Record<ChoiceMetric, OfModels<number>>>> {
  readonly items: number;
  readonly data: { readonly source: string; readonly sha256: string };
}

/** The log-likelihoods of each question's choices. */
type Values = readonly (readonly number[])[];

/** An evaluation task of a description, its questions and the place of its items. */
export function choiceEvaluation(
  { name, metrics }: ChoiceTask,
  questions: readonly Question[],
  data: ChoiceReport["data"],
): EvaluationTask<Batch, Values, ChoiceReport> {
  /** for each question 1 if a model answered it right, else 0 */
  const answered = (metric: ChoiceMetric, values: readonly Values[]): number[] =>
    values.flat().map((logLikelihoods, index) => isRight(metric, questions[index]!, logLikelihoods));
  return {
    name,
    version: CHOICE_VERSION,
    measure: name,
    metrics: () => metrics.map((metric) => `${name}.${metric}`),
    items: () => planQuestions(questions),

    async run(model, { start, end }) {
      const batch = questions.slice(start, end);
      // choices that are the same get the same likelihood, to the last bit
      const rows = new Map(batch.flatMap((question) => question.rows.map((row) => [keyOf(row), row] as const)));
      const scored = await model.score([...rows.values()]);
      const losses = new Map([...rows.keys()].map((key, index) => [key, scored.rows[index]!]));
      const values = batch.map((question) => question.rows.map((row) => -losses.get(keyOf(row))!));
      const broken = values.findIndex((question) => !question.every(Number.isFinite));
      if (broken >= 0)
        throw new UserError(`a log-likelihood of the ${model.name} model is not a finite number`, { task: name, item: start + broken + 1 });
      return values;
    },

    report(values) {
      const share = (metric: ChoiceMetric, each: readonly Values[]): number =>
        answered(metric, each).reduce((sum, right) => sum + right, 0) / questions.length;
      const shares = metrics.map((metric) => {
        const { base, tuned, live } = values;
        const ofModels = { base: share(metric, base), tuned: share(metric, tuned), ...(live && { live: share(metric, live) }) };
        return [metric, ofModels] as const;
      });
      return { items: questions.length, ...Object.fromEntries(shares), data };
    },

    figures({ base, tuned, live }) {
      return metrics.map((metric): Measured => {
        const [ofBase, ofTuned, ofLive] = [answered(metric, base), answered(metric, tuned), live && answered(metric, live)];
        const items = ofBase.map((right, index) => ({
          weight: 1,
          base: right,
          tuned: ofTuned[index]!,
          ...(ofLive && { live: ofLive[index]! }),
        }));
        return { metric: `${name}.${metric}`, better: "higher", kind: "mean", items };
      });
    },
  };
}

/** What tells a row from others. */
function keyOf({ inputIds, labels }: TokenRow): string {
  return `${inputIds.join()} ${labels.join()}`;
}

/** Cuts questions into batches of neighbours. */
export function planQuestions(questions: readonly Pick<Question, "rows">[]): Batch[] {
  const batches: Batch[] = [];
  let [start, tokens] = [0, 0];
  questions.forEach(({ rows }, index) => {
    const more = rows.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
    if (index > start && (index - start === BATCH_QUESTIONS || tokens + more > BATCH_TOKENS)) {
      batches.push({ start, end: index });
      [start, tokens] = [index, 0];
    }
    tokens += more;
  });
  if (start < questions.length) batches.push({ start, end: questions.length });
  return batches;
}
