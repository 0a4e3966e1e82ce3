import type { Prompt } from "../../core/text/prompt-kind.js";
import { isStopped, requestIn, responseIn } from "../../core/text/request.js";
import { nextScored } from "../../core/rows/labels.js";
import type { TokenSplit } from "../../core/rows/token-rows.js";
import type { Decoder } from "../../core/text/tokenizer.js";
import type { EvaluationTask } from "./task.js";

/** New tokens of an answer, at most. */
const MAX_NEW_TOKENS = 128;

/** The tokens that a model is asked to go on with, and those that the row has there. */
interface Question {
  /** index of the row in its source file */
  readonly row: number;
  readonly prompt: readonly number[];
  readonly expected: readonly number[];
}

/** Both models' answers to a held-out row; token ids when the model has no tokenizer. */
export interface Sample {
  /** index of the row in its source file */
  readonly row: number;
  readonly prompt: string | readonly number[];
  /** the prompt's request without the template around it, when the prompt has that template */
  readonly system?: string;
  readonly instruction?: string;
  readonly input?: string;
  readonly expected: string | readonly number[];
  readonly base: string | readonly number[];
  readonly tuned: string | readonly number[];
}

/** Answers of the models to a few held-out rows, for people to read. */
export const samples: EvaluationTask<Question, readonly number[], readonly Sample[]> = {
  name: "samples",
  version: 2,
  measure: "answers",
  items: ({ split, settings }) => planQuestions(split, settings.generateSamples),
  run: (model, { prompt: ids }, { tokenizer, prompt }) => takeResponse(model.generate(ids), tokenizer, prompt),
  report: ({ items, base, tuned }, { tokenizer, prompt }) =>
    items.map((question, index) => describeSample(question, base[index]!, tuned[index]!, tokenizer, prompt)),
};

/** `count` rows spread evenly over the split; those without a response are passed over. */
export function planQuestions(split: TokenSplit, count: number): Question[] {
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

/** Takes tokens until what ends an answer has been said or there are enough. */
export async function takeResponse(tokens: AsyncIterable<number>, tokenizer: Decoder | null, prompt: Prompt | null): Promise<number[]> {
  const ids: number[] = [];
  for await (const id of tokens) {
    ids.push(id);
    if (ids.length === MAX_NEW_TOKENS || (prompt !== null && tokenizer !== null && isStopped(tokenizer.decode(ids), prompt))) break;
  }
  return ids;
}

/** A sample as text, or as token ids when there is no tokenizer. */
export function describeSample(
  { row, prompt: ids, expected }: Question,
  base: readonly number[],
  tuned: readonly number[],
  tokenizer: Decoder | null,
  prompt: Prompt | null,
): Sample {
  if (tokenizer === null || prompt === null) return { row, prompt: ids, expected, base, tuned };
  const text = tokenizer.decode(ids);
  const shared = sharedText(text, tokenizer.decode(expected.slice(0, 1)), prompt);
  const response = (said: readonly number[]): string => {
    const answer = tokenizer.decode(said);
    return responseIn(answer.startsWith(shared) ? answer.slice(shared.length) : answer, prompt);
  };
  return {
    row,
    prompt: text,
    ...requestIn(text + shared, prompt),
    expected: response(expected),
    base: response(base),
    tuned: response(tuned),
  };
}

/** What an answer's first token has of the prompt: after a prompt that ends with a colon, a quotation may begin with the token `:"`. */
export function sharedText(text: string, first: string, prompt: Prompt): string {
  const beginnings = Array.from(first, (_, length) => first.slice(0, length));
  return beginnings.find((beginning) => requestIn(text + beginning, prompt).instruction !== undefined) ?? "";
}
