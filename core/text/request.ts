import { PromptProblem, type Prompt } from "./prompt-kind.js";

/** Stand for an instruction and an input where only the text around them is asked for. */
const [INSTRUCTION, INPUT] = ["\ue000\ue001", "\ue000\ue002"];

/** The request within a text that a prompt wrote to ask for an answer; nothing when the text has more than one request, or other text. */
export function requestIn(text: string, prompt: Prompt): { readonly instruction?: string; readonly input?: string } {
  for (const input of [INPUT, ""]) {
    const parts = around(prompt, input);
    if (parts === null) continue;
    const [head, middle, tail] = parts;
    // a tokenizer may have put BOS before it
    const start = text.indexOf(head);
    if (start < 0 || /\s/.test(text.slice(0, start)) || !text.endsWith(tail) || start + head.length + tail.length > text.length) continue;
    const request = text.slice(start + head.length, text.length - tail.length);
    // an earlier answer ends in it
    if (isStopped(request, prompt)) return {};
    if (middle === null) return { instruction: request };
    const at = request.indexOf(middle);
    if (at >= 0) return { instruction: request.slice(0, at), input: request.slice(at + middle.length) };
  }
  return {};
}

/** The text before the instruction, between it and the input, and after both; null: they cannot be told apart. */
function around(prompt: Prompt, input: string): [head: string, middle: string | null, tail: string] | null {
  try {
    const text = prompt.ask({ system: "", turns: [{ instruction: INSTRUCTION, input, output: "", scored: true }] });
    const [head, rest] = text.split(INSTRUCTION);
    if (head === undefined || rest === undefined) return null;
    if (input === "") return [head, null, rest];
    const [middle, tail] = rest.split(input);
    return tail === undefined || middle!.trim() === "" ? null : [head, middle!, tail];
  } catch (error) {
    if (error instanceof PromptProblem) return null;
    throw error;
  }
}

/** Whether a model has written what ends an answer. */
export function isStopped(generated: string, { stop }: Prompt): boolean {
  return stop !== "" && generated.includes(stop);
}

/** The response in what a model generated after a prompt: the text before what ends an answer, trimmed. */
export function responseIn(generated: string, { stop }: Prompt): string {
  return (stop === "" ? generated : generated.split(stop, 1)[0]!).trim();
}

/** The ids that a tokenizer puts before a text's: a text that begins with BOS itself gets no second one. */
export function idsBefore({ before }: { readonly before: readonly number[] }, ids: ArrayLike<number>, bosId: number): readonly number[] {
  return ids[0] === bosId && before.at(-1) === bosId ? before.slice(0, -1) : before;
}
