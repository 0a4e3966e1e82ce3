import { TEMPLATE_NAMES } from "../config/template-problem.js";
import { UserError } from "../errors.js";
import { chatPrompt } from "./chat-prompt.js";
import type { Turn } from "./conversation.js";
import { checkRoom, type CompileTemplate, type Prompt, type PromptSetting, type PromptTokens } from "./prompt-kind.js";
import { bodyOf, END_KEY, headOf, promptOf } from "./prompt.js";
import { templatePrompt } from "./template-prompt.js";

/** Makes the prompt that a run is set to. Throws UserError if the model has no chat template, or if a template cannot be used. */
export function openPrompt(setting: PromptSetting, tokens: PromptTokens, compile: CompileTemplate): Prompt {
  if (setting === "dolly") return requestPrompt("dolly", promptOf, END_KEY, (turn) => headOf(turn.input) + bodyOf(turn));
  if (setting === "alpaca") return requestPrompt("alpaca", alpacaRequest, tokens.endToken, (turn) => alpacaRequest(turn) + turn.output);
  if (setting === "chat") {
    const { chatTemplate } = tokens;
    if (chatTemplate === null)
      throw new UserError('the model has no chat template: set preprocess.prompt to "dolly", "alpaca" or a template of your own', {
        expected: "chat_template in tokenizer_config.json, or chat_template.jinja",
      });
    return chatPrompt(compile(chatTemplate, "the model's chat template"), tokens, "the chat template", false);
  }
  const template = compile(setting.template, "preprocess.prompt.template");
  if (template.names.has("output")) {
    const unknown = [...template.names].filter((name) => !(TEMPLATE_NAMES as readonly string[]).includes(name));
    if (unknown.length > 0)
      throw new UserError("preprocess.prompt.template uses a name that rows do not have: it would be written as nothing", {
        names: unknown.join(", "),
        known: TEMPLATE_NAMES.join(", "),
      });
    return templatePrompt(template, tokens);
  }
  if (template.names.has("messages")) return chatPrompt(template, tokens, "preprocess.prompt.template", true);
  throw new UserError("preprocess.prompt.template must write {{ output }}, or go through messages", { template: setting.template });
}

/** Stanford Alpaca's text: Dolly's request without the line feed at its end. */
function alpacaRequest(turn: Pick<Turn, "instruction" | "input">): string {
  return promptOf(turn).slice(0, -1);
}

/** A prompt for one question, with room for an instruction and an input. */
function requestPrompt(name: string, ask: (turn: Turn) => string, stop: string, write: (turn: Turn) => string): Prompt {
  const room = new Set(["instruction", "input"]);
  return {
    write(conversation) {
      checkRoom(conversation, room, `the prompt ${name}`);
      const turn = conversation.turns[0]!;
      const text = write(turn);
      return { text, scored: turn.scored ? [[ask(turn).length, text.length]] : [], needsEos: name !== "dolly" };
    },
    ask(conversation) {
      checkRoom(conversation, room, `the prompt ${name}`);
      return ask(conversation.turns[0]!);
    },
    stop,
    around: true,
  };
}
