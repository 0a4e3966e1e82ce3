import { UserError } from "../errors.js";
import { messagesUntil, type Conversation, type Message } from "./conversation.js";
import { PromptProblem, type Prompt, type PromptTokens, type Template } from "./prompt-kind.js";
import { checkEdges, rendered } from "./template-prompt.js";

/** Messages that show how a template writes an answer. */
const QUESTION: Message = { role: "user", content: "A question of seven words, no more." };
const ANSWER = "An answer of six words, then.";

/**
 * A template of whole conversations, as transformers' `apply_chat_template` renders it. Each answer carries loss, from where
 * generation would begin up to and including the token that ends it. `addsEos`: without such a token EOS follows the text.
 */
export function chatPrompt(
  template: Template,
  { bosToken, eosToken, endToken, named, added }: PromptTokens,
  where: string,
  addsEos: boolean,
): Prompt {
  const render = (messages: readonly Message[], asks: boolean): string =>
    rendered(
      template.render,
      { ...named, messages, add_generation_prompt: asks, tools: null, documents: null, bos_token: bosToken, eos_token: eosToken },
      where,
    );
  const { opening, lead, mark } = probe(render, added, where);
  const systemProblem = probeSystem(render);
  if (mark === "" && !addsEos)
    throw new UserError(
      `${where} puts nothing after an answer, so generation would not know where to stop: set preprocess.prompt to a template of your own`,
      { eosToken },
    );

  const ask = (conversation: Conversation, turn: number): string => render(messagesUntil(conversation, turn), true) + opening;
  return {
    ask: (conversation) => ask(conversation, conversation.turns.length - 1),
    write(conversation) {
      const { system, turns } = conversation;
      if (system !== "" && systemProblem !== null)
        throw new PromptProblem(
          `a row has a system message, and ${where} has no room for it (${systemProblem}): set preprocess.prompt to a template that writes it`,
          true,
        );
      const messages = messagesUntil(conversation, turns.length);
      checkEdges(messages.map(({ content }) => content));
      const text = render(messages, false);
      const missing = messages.find(({ content }) => !text.includes(content.trim()));
      if (missing !== undefined)
        throw new PromptProblem(
          `${where} does not write a message of the ${missing.role} as it is, so the text would not be the row's`,
          false,
        );
      const starts = turns.map((_, turn) => ask(conversation, turn));
      const scored = turns.flatMap(({ output, scored: counts }, turn): [number, number][] => {
        const before = starts[turn]!;
        if (!text.startsWith(before))
          throw new PromptProblem(
            `${where} writes the text before answer ${turn + 1} in another way once the answer follows, so where the answer starts is unknown`,
            false,
          );
        const end = answerEnd(text, before.length, output.trim(), { lead, mark });
        if (end === null)
          throw new PromptProblem(
            `${where} does not write answer ${turn + 1} as it is, so which of its tokens carry loss is unknown`,
            false,
          );
        return counts ? [[before.length, end]] : [];
      });
      return { text, scored, needsEos: mark === "" };
    },
    stop: mark === "" ? endToken : mark,
    around: false,
  };
}

type RenderMessages = (messages: readonly Message[], asks: boolean) => string;

/** How a template writes an answer. */
interface AnswerPlace {
  /** what it puts between a question and an answer, if it knows no generation prompt */
  readonly opening: string;
  /** what it puts between those and an answer */
  readonly lead: string;
  /** what ends an answer: an added token, or other text */
  readonly mark: string;
}

function probe(render: RenderMessages, added: readonly string[], where: string): AnswerPlace {
  try {
    const asked = render([QUESTION], true);
    const text = render([QUESTION, { role: "assistant", content: ANSWER }], false);
    const at = text.indexOf(ANSWER, asked.length);
    if (!text.startsWith(asked) || at < 0)
      throw new PromptProblem(
        `${where} writes a question in another way once its answer follows, or changes the answer, so where an answer starts is unknown`,
        true,
      );
    // a template that knows no generation prompt; blanks before a word belong to the word
    const opening = render([QUESTION], false) === asked ? text.slice(asked.length, at).replace(/ +$/, "") : "";
    const tail = text.slice(at + ANSWER.length);
    const found = added.map((token) => ({ token, at: tail.indexOf(token) })).filter(({ at: place }) => place >= 0);
    const [first] = found.sort((a, b) => a.at - b.at || b.token.length - a.token.length);
    const lead = text.slice(asked.length + opening.length, at);
    return { opening, lead, mark: first === undefined ? tail.trim() : tail.slice(0, first.at + first.token.length).trim() };
  } catch (error) {
    if (!(error instanceof PromptProblem)) throw error;
    throw new UserError(`${error.message}. Set preprocess.prompt to a template of your own`, {}, { cause: error });
  }
}

/** Why a template has no room for a system message; null: it has. */
function probeSystem(render: RenderMessages): string | null {
  const system: Message = { role: "system", content: "A system message, to see." };
  try {
    return render([system, QUESTION, { role: "assistant", content: ANSWER }], false).includes(system.content) ? null : "it is left out";
  } catch (error) {
    if (!(error instanceof PromptProblem)) throw error;
    return error.message;
  }
}

/** Where the part that carries loss ends: after the mark that ends the answer, or after the answer; null: the answer is not there. */
function answerEnd(text: string, from: number, answer: string, { lead, mark }: Pick<AnswerPlace, "lead" | "mark">): number | null {
  // what stands before an answer may have the answer's own words in it, or the answer may be empty
  const at = text.startsWith(lead + answer, from) ? from + lead.length : text.indexOf(answer, from);
  if (at < 0) return null;
  const before = text.slice(from, at);
  if (before.trim() !== "" && before !== lead) return null;
  const end = at + answer.length;
  const rest = text.slice(end);
  const blank = rest.length - rest.trimStart().length;
  return mark !== "" && rest.startsWith(mark, blank) ? end + blank + mark.length : end;
}
