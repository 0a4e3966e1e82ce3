/** Alpaca's two prompt templates and Dolly's end key. */

/** Everything up to and including its first occurrence carries no loss. */
export const RESPONSE_KEY = "### Response:\n";

/** Generation stops where the model says it. */
export const END_KEY = "### End";

/** A request to the model; an empty or absent input means that there is none. */
export interface Instruction {
  readonly instruction: string;
  readonly input?: string | undefined;
}

/** What stands before the instruction: the same text for every row with an input, and for every one without. */
export function headOf(input: string): string {
  const context = input === "" ? "" : ", paired with an input that provides further context";
  return `Below is an instruction that describes a task${context}. Write a response that appropriately completes the request.\n\n### Instruction:\n`;
}

/** What stands between the head and the response. */
function requestOf(instruction: string, input: string): string {
  return `${instruction}\n\n${input === "" ? "" : `### Input:\n${input}\n\n`}${RESPONSE_KEY}`;
}

/** The prompt, up to and including the response key: what generation starts from. */
export function promptOf({ instruction, input = "" }: Instruction): string {
  return headOf(input) + requestOf(instruction, input);
}

/** The text of a training row behind its head. */
export function bodyOf({ instruction, input = "", output }: Instruction & { readonly output: string }): string {
  return `${requestOf(instruction, input)}${output}\n\n${END_KEY}`;
}

/** The response within what a model generated after a prompt: what stands before the end key. */
export function responseIn(generated: string): string {
  return generated.split(END_KEY, 1)[0]!.trim();
}
