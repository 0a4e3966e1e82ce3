import { UserError } from "../../core/errors.js";
import type { Measured, OfModels } from "../../core/stages/figures.js";
import { rougeL } from "../../core/text/rouge.js";
import { fitPrompt } from "../../core/text/ask-tokens.js";
import { answerPrompts, batchesOf, type Asked } from "./answer-prompts.js";
import { describeSample, planQuestions, type Question } from "./samples.js";
import type { EvaluationTask, TaskInput, TaskValues } from "./task.js";

type AskedRow = Question & Asked;
type Answered = readonly (readonly number[])[];

/** The share of answers that are the expected text, without blanks before and after. */
const EXACT_MATCH = "exactMatch";
/** See `rougeL`. */
const ROUGE_L = "rougeL";

/** How near the models' answers to held-out rows are to what the rows have there; the figures are means over the rows. */
export interface AnswersReport {
  readonly rows: number;
}

/** Compares answers to `evaluate.references` held-out rows, of the likeliest tokens, with the expected ones. */
export const answers: EvaluationTask<readonly AskedRow[], Answered, AnswersReport | undefined> = {
  name: "answers",
  version: 1,
  measure: "answers to held-out rows",
  items({ split, settings, tokenizer, positions }) {
    if (settings.references === 0) return [];
    if (tokenizer === null)
      throw new UserError("answers are compared as texts, and the model has no tokenizer.json: set evaluate.references to 0", {
        field: "evaluate.references",
        got: settings.references,
      });
    const fit = (ids: readonly number[]): readonly number[] =>
      fitPrompt(ids, { ...settings.generation, positions }, 'set evaluate.generation.tooLong to "cut", or evaluate.references to 0');
    return batchesOf(
      planQuestions(split, settings.references).map((question, stream) => ({ ...question, prompt: fit(question.prompt), stream })),
    );
  },
  run: (model, questions, input) =>
    answerPrompts(model, questions, input, { repetitionPenalty: input.settings.generation.repetitionPenalty }),
  report: ({ items }) => (items.length === 0 ? undefined : { rows: items.flat().length }),
  metrics: ({ evaluate, preprocess }) => (evaluate.references === 0 || preprocess.testRows === 0 ? [] : [EXACT_MATCH, ROUGE_L]),
  figures(values, input) {
    const rows = textsOf(values, input);
    const measured = (metric: string, value: (expected: string, said: string) => number): Measured => ({
      metric,
      better: "higher",
      kind: "mean",
      items: rows.map(({ expected, said }) => ({
        weight: 1,
        base: value(expected, said.base),
        tuned: value(expected, said.tuned),
        ...(said.live !== undefined && { live: value(expected, said.live) }),
      })),
    });
    if (rows.length === 0) return [];
    return [measured(EXACT_MATCH, (expected, said) => (expected === said ? 1 : 0)), measured(ROUGE_L, rougeL)];
  },
};

/** What each row has, and what each model said: without the prompt's end, and without blanks before and after. */
function textsOf(
  { items, base, tuned, live }: TaskValues<readonly AskedRow[], Answered>,
  { tokenizer, prompt }: TaskInput,
): { readonly expected: string; readonly said: OfModels<string> }[] {
  return items.flatMap((questions, item) =>
    questions.map((question, index) => {
      const sample = describeSample(question, base[item]![index]!, tuned[item]![index]!, tokenizer, prompt);
      const textOf = (said: readonly number[]): string => String(describeSample(question, said, said, tokenizer, prompt).tuned);
      return {
        expected: String(sample.expected),
        said: { base: String(sample.base), tuned: String(sample.tuned), ...(live !== undefined && { live: textOf(live[item]![index]!) }) },
      };
    }),
  );
}
