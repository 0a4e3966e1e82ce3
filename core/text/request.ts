import { PromptProblem, type Prompt } from "./prompt-kind.js";

/** What a person asked within a text that asks for an answer. */
export interface Request {
  readonly system?: string;
  readonly instruction?: string;
  readonly input?: string;
}

/** Stand for parts of a request where only the text around them is asked for. */
const STAND_INS = { system: "\ue000\ue001", instruction: "\ue000\ue002", input: "\ue000\ue003" } as const;

/** What a request may have: the first that fits counts. */
const SHAPES: readonly (readonly (keyof typeof STAND_INS)[])[] = [
  ["system", "instruction", "input"],
  ["instruction", "input"],
  ["system", "instruction"],
  ["instruction"],
];

/** The request within a text that a prompt wrote to ask for an answer; nothing when the text has more than one request, or other text. */
export function requestIn(text: string, prompt: Prompt): Request {
  for (const parts of SHAPES) {
    const around = textAround(prompt, parts);
    const request = around === null ? null : match(text, around);
    // an earlier answer ends in it
    if (request === null || request.some((part) => isStopped(part, prompt))) continue;
    return Object.fromEntries(parts.map((part, index) => [part, request[index]!]));
  }
  return {};
}

/** What stands between pieces of text that begin, divide and end another; null: they don't. */
function match(text: string, [head, ...rest]: readonly string[]): string[] | null {
  const tail = rest.pop()!;
  // a tokenizer may have put BOS before it, and a blank after that
  const start = text.indexOf(head!);
  const end = text.length - tail.length;
  if (start < 0 || /\s/.test(text.slice(0, start).replace(/(?<=\S) $/, "")) || !text.endsWith(tail) || start + head!.length > end)
    return null;
  const found: string[] = [];
  let from = start + head!.length;
  for (const middle of rest) {
    const at = text.indexOf(middle, from);
    if (at < 0 || at + middle.length > end) return null;
    found.push(text.slice(from, at));
    from = at + middle.length;
  }
  return [...found, text.slice(from, end)];
}

/** The text before, between and after the parts of a request, in their order; null: the prompt has no room for one, or does not tell them apart. */
function textAround(prompt: Prompt, parts: readonly (keyof typeof STAND_INS)[]): string[] | null {
  const stand = (part: keyof typeof STAND_INS): string => (parts.includes(part) ? STAND_INS[part] : "");
  try {
    const turn = { instruction: stand("instruction"), input: stand("input"), output: "", scored: true };
    let rest = prompt.ask({ system: stand("system"), turns: [turn] });
    const around: string[] = [];
    for (const part of parts) {
      const at = rest.indexOf(STAND_INS[part]);
      if (at < 0) return null;
      around.push(rest.slice(0, at));
      rest = rest.slice(at + STAND_INS[part].length);
    }
    return around.slice(1).some((between) => between.trim() === "") ? null : [...around, rest];
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
export function idsBefore({ before }: { readonly before: readonly number[] }, ids: ArrayLike<number>): readonly number[] {
  return before.length > 0 && ids[0] === before.at(-1) ? before.slice(0, -1) : before;
}
