import type { Conversation } from "./conversation.js";
import { messagesUntil } from "./conversation.js";
import { checkRoom, PromptProblem, type Prompt, type PromptTokens, type Template } from "./prompt-kind.js";

/** Stands for the output where only the text around it is asked for. */
const STAND_IN = "\ue000\ue001\ue000";

const WHERE = "preprocess.prompt.template";

/** A Jinja template of the user's own that writes one answer, `output`; the text from it on carries loss. */
export function templatePrompt({ render, names }: Template, { bosToken, eosToken, endToken }: PromptTokens): Prompt {
  const room = names.has("messages") ? new Set([...names, "system", "history", "input", "instruction"]) : names;
  const write = ({ system, turns }: Conversation, output: string): string => {
    const last = turns.at(-1)!;
    const history = turns.slice(0, -1).map((turn) => [turn.instruction, turn.output]);
    const messages = messagesUntil({ system, turns }, turns.length - 1);
    const { instruction, input } = last;
    return rendered(render, { instruction, input, output, system, history, messages, bos_token: bosToken, eos_token: eosToken }, WHERE);
  };
  const ask = (conversation: Conversation): string => {
    checkRoom(conversation, room, WHERE);
    const text = write(conversation, STAND_IN);
    const start = text.indexOf(STAND_IN);
    if (start < 0) throw new PromptProblem(`${WHERE} does not write the output of this row`, false);
    return text.slice(0, start);
  };
  return {
    ask,
    write(conversation) {
      checkEdges(conversation.turns.flatMap((turn) => [turn.instruction, turn.input, turn.output]));
      const request = ask(conversation);
      const { output, scored } = conversation.turns.at(-1)!;
      const text = write(conversation, output);
      if (!text.startsWith(request))
        throw new PromptProblem(
          `${WHERE} writes other text before the output if the output is another, so where it starts is unknown`,
          false,
        );
      return { text, scored: scored ? [[request.length, text.length]] : [], needsEos: true };
    },
    stop: endToken,
    around: true,
  };
}

/** Characters that Python's strip and JavaScript's trim take differently, at either end of a text. */
const UNLIKE_EDGE = /^\s*[\x1c-\x1f\x85\ufeff]|[\x1c-\x1f\x85\ufeff]\s*$/;

/** Throws PromptProblem if a template that trims its texts would not write them as transformers does. */
export function checkEdges(texts: readonly string[]): void {
  const found = texts.map((text) => UNLIKE_EDGE.exec(text)).find((match) => match !== null);
  if (found == null) return;
  const code = /[\x1c-\x1f\x85\ufeff]/.exec(found[0])![0].codePointAt(0)!;
  throw new PromptProblem(
    `a text begins or ends with U+${code.toString(16).toUpperCase().padStart(4, "0")}, which a template would trim in Python and not here, or the other way round`,
    false,
  );
}

/** What a template writes; its own complaint about a conversation is about that row. */
export function rendered(render: Template["render"], variables: Readonly<Record<string, unknown>>, where: string): string {
  try {
    return render(variables);
  } catch (error) {
    throw new PromptProblem(`${where}: ${error instanceof Error ? error.message : String(error)}`, false);
  }
}
