import { UserError } from "../errors.js";
import type { Prompt } from "./prompt-kind.js";
import { idsBefore } from "./request.js";
import type { Tokenizer } from "./tokenizer.js";

/** The tokens that ask a model for an answer. Throws PromptProblem if the prompt has no room for an instruction or an input. */
export function askTokens(
  tokenizer: Pick<Tokenizer, "encode" | "around">,
  prompt: Prompt,
  { instruction, input = "" }: { readonly instruction: string; readonly input?: string },
): number[] {
  const text = tokenizer.encode(prompt.ask({ system: "", turns: [{ instruction, input, output: "", scored: true }] }));
  return prompt.around ? [...idsBefore(tokenizer.around, text), ...text] : [...text];
}

/** How much room a model has for a prompt and its answer. */
export interface Room {
  /** of the model */
  readonly positions: number;
  readonly maxNewTokens: number;
  /** what becomes of a prompt that leaves no position for an answer: `cut` leaves out its first tokens */
  readonly tooLong: "error" | "cut";
}

/**
 * A prompt that fits into a model's positions. One that is cut keeps its last tokens and leaves room for the new ones, but not more
 * than half of the positions. Throws UserError, to which `advice` says what to do.
 */
export function fitPrompt(ids: readonly number[], { positions, maxNewTokens, tooLong }: Room, advice: string): readonly number[] {
  if (ids.length < positions) return ids;
  if (tooLong === "error")
    throw new UserError(`a prompt has no fewer tokens than the model has positions: ${advice}`, { tokens: ids.length, positions });
  return ids.slice(-Math.max(1, positions - Math.min(maxNewTokens, positions >> 1)));
}
