import { UserError } from "../../core/errors.js";
import type { Prompt } from "../../core/text/prompt-kind.js";
import { PromptProblem } from "../../core/text/prompt-kind.js";
import { askTokens, fitPrompt } from "../../core/text/ask-tokens.js";
import { requestIn, responseIn } from "../../core/text/request.js";
import { nextScored } from "../../core/rows/labels.js";
import type { TokenSplit } from "../../core/rows/token-rows.js";
import type { Decoder } from "../../core/text/tokenizer.js";
import { answerPrompts, batchesOf, draws, type Asked } from "./answer-prompts.js";
import type { EvaluationTask, TaskInput } from "./task.js";

/** Where a question comes from that is not a held-out row's: `evaluate.prompts`, or what Dolly was shown with. */
type Kind = "own" | "dolly";

/** The tokens that a model is asked to go on with, and those that a row has there. */
export interface Question {
  /** absent: a held-out row's */
  readonly kind?: Kind;
  /** index of the row in its source file */
  readonly row?: number;
  readonly prompt: readonly number[];
  readonly expected?: readonly number[];
  /** of a question that is not a row's */
  readonly request?: { readonly instruction: string; readonly input?: string };
}

/** Questions that are answered at a time, by the likeliest tokens or by drawn ones. */
interface Batch {
  readonly questions: readonly (Question & Asked)[];
  readonly drawn: boolean;
}

/** Text, or token ids when the model has no tokenizer. */
type Said = string | readonly number[];

/** Both models' answers to a question. */
export interface Sample {
  /** absent: a held-out row's */
  readonly kind?: Kind;
  /** index of a held-out row in its source file */
  readonly row?: number;
  readonly prompt: Said;
  /** the prompt's request without the template around it, when the prompt has that template */
  readonly system?: string;
  readonly instruction?: string;
  readonly input?: string;
  /** what a held-out row has there */
  readonly expected?: Said;
  readonly base: Said;
  readonly tuned: Said;
  /** answers of drawn tokens, if `evaluate.generation.temperature` is above 0 */
  readonly drawn?: { readonly base: Said; readonly tuned: Said };
}

/**
 * What Databricks showed the first Dolly with: https://www.databricks.com/blog/2023/03/24/hello-dolly-democratizing-magic-chatgpt-open-models.html
 * and train_dolly.py of github.com/databrickslabs/dolly name them.
 */
export const DOLLY_INSTRUCTIONS: readonly string[] = [
  "Write a love letter to Edgar Allan Poe.",
  "Write a tweet announcing Dolly, a large language model from Databricks.",
  "I'm selling my Nikon D-750, write a short blurb for my ad.",
  "Explain to me the difference between nuclear fission and fusion.",
  "Give me a list of 5 science fiction books I should read next.",
];

/** Answers of the models to a few questions, for people to read. */
export const samples: EvaluationTask<Batch, readonly (readonly number[])[], readonly Sample[]> = {
  name: "samples",
  version: 3,
  measure: "answers",
  items(input) {
    const questions = questionsOf(input).map((question, stream) => ({ ...question, stream }));
    const batches = (drawn: boolean): Batch[] => batchesOf(questions).map((batch) => ({ questions: batch, drawn }));
    return [...batches(false), ...(draws(input.settings) ? batches(true) : [])];
  },
  run: (model, { questions, drawn }, input) =>
    answerPrompts(
      model,
      questions,
      input,
      drawn ? input.settings.generation : { repetitionPenalty: input.settings.generation.repetitionPenalty },
    ),
  report({ items, base, tuned }, { tokenizer, prompt }) {
    const answers = items.flatMap(({ questions, drawn }, item) =>
      questions.map((question, index) => ({ question, drawn, base: base[item]![index]!, tuned: tuned[item]![index]! })),
    );
    const drawn = new Map(answers.flatMap((answer) => (answer.drawn ? [[answer.question.stream, answer] as const] : [])));
    return answers.flatMap((answer) =>
      answer.drawn
        ? []
        : [describeSample(answer.question, answer.base, answer.tuned, tokenizer, prompt, drawn.get(answer.question.stream))],
    );
  },
};

/** Held-out rows, the run's own prompts, and Dolly's; without a tokenizer there are only rows. */
function questionsOf(input: TaskInput): Question[] {
  const { split, settings, tokenizer, prompt } = input;
  const fit = fitIn(input);
  const rows = planQuestions(split, settings.generateSamples).map((question) => ({ ...question, prompt: fit(question.prompt) }));
  const own = ownQuestions(input);
  if (tokenizer === null || prompt === null || settings.generateSamples === 0) return [...rows, ...own];
  const dolly = DOLLY_INSTRUCTIONS.flatMap((instruction) =>
    ask(() => ({ kind: "dolly", prompt: fit(askTokens(tokenizer, prompt, { instruction })), request: { instruction } })),
  );
  return [...rows, ...own, ...dolly];
}

function fitIn({ settings, positions }: Pick<TaskInput, "settings" | "positions">): (ids: readonly number[]) => readonly number[] {
  return (ids) => fitPrompt(ids, { ...settings.generation, positions }, 'shorten it, or set evaluate.generation.tooLong to "cut"');
}

/** The questions of `evaluate.prompts`. Throws UserError that names the one that cannot be asked. */
export function ownQuestions(input: Omit<TaskInput, "split">): Question[] {
  const { settings, tokenizer, prompt } = input;
  if (settings.prompts.length === 0) return [];
  if (tokenizer === null || prompt === null)
    throw new UserError("requests of one's own are texts, and the model has no tokenizer that Roslin reads: leave evaluate.prompts out");
  const fit = fitIn(input);
  return settings.prompts.map(({ instruction, input: text }, index) => {
    const request = { instruction, ...(text !== null && { input: text }) };
    try {
      return { kind: "own", prompt: fit(askTokens(tokenizer, prompt, request)), request };
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      throw new UserError(`evaluate.prompts.${index} cannot be asked: ${error.message}`, {}, { cause: error });
    }
  });
}

/** Nothing where a prompt of the run has no room for a bare instruction. */
function ask(question: () => Question): Question[] {
  try {
    return [question()];
  } catch (error) {
    if (error instanceof PromptProblem) return [];
    throw error;
  }
}

/** `count` rows spread evenly over the split; those without a response are passed over. */
export function planQuestions(
  split: TokenSplit,
  count: number,
): (Question & { readonly row: number; readonly expected: readonly number[] })[] {
  const chosen = Array.from({ length: Math.min(count, split.count) }, (_, index) =>
    Math.floor((index * split.count) / Math.min(count, split.count)),
  );
  return chosen.flatMap((index) => {
    const row = split.row(index);
    const first = nextScored(row.labels, 0);
    return first === row.labels.length
      ? []
      : [{ row: row.source, prompt: [...row.inputIds.subarray(0, first)], expected: [...row.inputIds.subarray(first)] }];
  });
}

/** A sample as text, or as token ids when there is no tokenizer. */
export function describeSample(
  { kind, row, prompt: ids, expected, request }: Question,
  base: readonly number[],
  tuned: readonly number[],
  tokenizer: Decoder | null,
  prompt: Prompt | null,
  drawn?: { readonly base: readonly number[]; readonly tuned: readonly number[] },
): Sample {
  const place = { ...(kind !== undefined && { kind }), ...(row !== undefined && { row }) };
  const answers = (said: (ids: readonly number[]) => Said): Omit<Sample, "kind" | "row" | "prompt"> => ({
    ...(expected !== undefined && { expected: said(expected) }),
    base: said(base),
    tuned: said(tuned),
    ...(drawn !== undefined && { drawn: { base: said(drawn.base), tuned: said(drawn.tuned) } }),
  });
  if (tokenizer === null || prompt === null) return { ...place, prompt: ids, ...answers((said) => said) };
  const text = tokenizer.decode(ids);
  const shared = expected === undefined ? "" : sharedText(text, tokenizer.decode(expected.slice(0, 1)), prompt);
  const response = (said: readonly number[]): string => {
    const answer = tokenizer.decode(said);
    return responseIn(answer.startsWith(shared) ? answer.slice(shared.length) : answer, prompt);
  };
  return { ...place, prompt: text, ...(request ?? requestIn(text + shared, prompt)), ...answers(response) };
}

/** What an answer's first token has of the prompt: after a prompt that ends with a colon, a quotation may begin with the token `:"`. */
export function sharedText(text: string, first: string, prompt: Prompt): string {
  const beginnings = Array.from(first, (_, length) => first.slice(0, length));
  return beginnings.find((beginning) => requestIn(text + beginning, prompt).instruction !== undefined) ?? "";
}
