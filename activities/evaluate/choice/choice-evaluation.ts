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

/** A question with its rows, whose loss is on a choice. */
export interface Question extends ChoiceItem {
  readonly rows: readonly TokenRow[];
  /** for each choice its row: choices that are the same have one, and so the same likelihood to the last bit */
  readonly rowOf: readonly number[];
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
      const scored = await model.score(batch.flatMap(({ rows }) => rows));
      let next = 0;
      const values = batch.map(({ rows, rowOf }) => {
        const losses = rows.map(() => scored.rows[next++]!);
        return rowOf.map((row) => -losses[row]!);
      });
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

/** A question of an item and the rows of its choices: those that are the same are scored once, and a beginning that they share is computed once. */
export function questionOf(item: ChoiceItem, choices: readonly TokenRow[]): Question {
  const keys = choices.map(({ inputIds, labels }) => `${inputIds.join()} ${labels.join()}`);
  const unique = [...new Set(keys)];
  let stem: TokenRow | null = null;
  const rows = unique.map((key) => {
    const row = choices[keys.indexOf(key)]!;
    const shared = stem === null ? 0 : sharedTokens(stem, row);
    if (shared > 0) return { ...row, shared };
    stem = row;
    return row;
  });
  return { ...item, rows, rowOf: keys.map((key) => unique.indexOf(key)) };
}

/** How many first tokens two rows have in common. */
function sharedTokens({ inputIds: stem }: TokenRow, { inputIds }: TokenRow): number {
  let shared = 0;
  while (shared < Math.min(stem.length, inputIds.length) && inputIds[shared] === stem[shared]) shared++;
  return shared;
}

/** Cuts questions into batches of neighbours. */
export function planQuestions(questions: readonly Pick<Question, "rows">[]): Batch[] {
  const batches: Batch[] = [];
  let [start, tokens] = [0, 0];
  questions.forEach(({ rows }, index) => {
    const more = rows.reduce((sum, { inputIds, shared = 0 }) => sum + inputIds.length - shared, 0);
    if (index > start && (index - start === BATCH_QUESTIONS || tokens + more > BATCH_TOKENS)) {
      batches.push({ start, end: index });
      [start, tokens] = [index, 0];
    }
    tokens += more;
  });
  if (start < questions.length) batches.push({ start, end: questions.length });
  return batches;
}
