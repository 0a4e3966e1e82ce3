/** Dolly's prompt: Alpaca's two templates and an end key. */

/** The text up to and including the first occurrence of this key carries no loss. */
export const RESPONSE_KEY = "### Response:\n";

/** Generation stops when the model writes this key. */
export const END_KEY = "### End";

/** A request to the model; an empty or absent input means that there is none. */
export interface Instruction {
  readonly instruction: string;
  readonly input?: string | undefined;
}

/** The text before the instruction: one for all rows with an input, another for all rows without. */
export function headOf(input: string): string {
  const context = input === "" ? "" : ", paired with an input that provides further context";
  return `Below is an instruction that describes a task${context}. Write a response that appropriately completes the request.\n\n### Instruction:\n`;
}

/** The text between the head and the response. */
function requestOf(instruction: string, input: string): string {
  return `${instruction}\n\n${input === "" ? "" : `### Input:\n${input}\n\n`}${RESPONSE_KEY}`;
}

/** The prompt, up to and including the response key: what generation starts from. */
export function promptOf({ instruction, input = "" }: Instruction): string {
  return headOf(input) + requestOf(instruction, input);
}

/** The text of a training row after its head. */
export function bodyOf({ instruction, input = "", output }: Instruction & { readonly output: string }): string {
  return `${requestOf(instruction, input)}${output}\n\n${END_KEY}`;
}
