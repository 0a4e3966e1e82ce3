import { END_KEY, RESPONSE_KEY, responseIn } from "../../core/text/prompt.js";
import type { Decoder } from "../../core/text/tokenizer.js";
import type { SampleTask } from "./items.js";

/** New tokens of a sample, at most. */
const MAX_NEW_TOKENS = 128;

/** What base and tuned model say to a held-out row; token ids where the model has no tokenizer. */
export interface Sample {
  /** index of the row in its source file */
  readonly row: number;
  readonly prompt: string | readonly number[];
  /** the prompt's request without the template around it, where there is one */
  readonly instruction?: string;
  readonly input?: string;
  readonly expected: string | readonly number[];
  readonly base: string | readonly number[];
  readonly tuned: string | readonly number[];
}

/** Takes tokens until the end key has been said or there are enough. */
export async function takeResponse(tokens: AsyncIterable<number>, tokenizer: Decoder | null): Promise<number[]> {
  const ids: number[] = [];
  for await (const id of tokens) {
    ids.push(id);
    if (ids.length === MAX_NEW_TOKENS || tokenizer?.decode(ids).includes(END_KEY) === true) break;
  }
  return ids;
}

/** A sample in words, as far as there is a tokenizer. */
export function describeSample(
  { row, prompt, expected }: SampleTask,
  base: readonly number[],
  tuned: readonly number[],
  tokenizer: Decoder | null,
): Sample {
  if (tokenizer === null) return { row, prompt, expected, base, tuned };
  const text = tokenizer.decode(prompt);
  const response = (ids: readonly number[]): string => responseIn(tokenizer.decode(ids));
  return { row, prompt: text, ...requestIn(text), expected: response(expected), base: response(base), tuned: response(tuned) };
}

/** Instruction and input within a prompt; nothing where the prompt is of another make. */
function requestIn(prompt: string): { readonly instruction?: string; readonly input?: string } {
  const [, instruction] = /### Instruction:\n([^]*)$/.exec(prompt.split(`\n\n${RESPONSE_KEY}`, 1)[0]!) ?? [];
  if (instruction === undefined) return {};
  const [request, input] = instruction.split("\n\n### Input:\n", 2);
  return input === undefined ? { instruction } : { instruction: request!, input };
}
