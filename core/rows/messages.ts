import type { Conversation, Turn } from "../text/conversation.js";
import { checkedList, checkedText, columnIn, isBlank, kindOf, listIn, RowProblem, saysSomething, type Fields } from "./row-fields.js";

/** Names of the roles, as ShareGPT's and OpenAI's files have them. */
const ROLES: Readonly<Record<string, "system" | "user" | "assistant">> = {
  system: "system",
  developer: "system",
  user: "user",
  human: "user",
  assistant: "assistant",
  gpt: "assistant",
  chatgpt: "assistant",
  bing: "assistant",
  bard: "assistant",
  model: "assistant",
};

/** Parts of a message that belong to its text, and that Roslin does not train on. */
const REFUSED = ["tool_calls", "function_call", "tool_call_id", "images", "audio", "reasoning_content", "reasoning", "thinking"];

const USED = new Set(["role", "from", "content", "value", "weight"]);

/** The keys of messages, and of the parts of their content, that have content and that nothing uses, such as a time stamp. */
export function unusedKeys(messages: unknown): string[] {
  const list = listIn(messages) ?? [];
  const parts = list.flatMap((message) => {
    const { content } = (message ?? {}) as Fields;
    return Array.isArray(content) ? (content as readonly unknown[]) : [];
  });
  const inParts = filledKeys(parts).filter((key) => key !== "type" && key !== "text");
  return [...filledKeys(list).filter((key) => !USED.has(key)), ...inParts.map((key) => `content[].${key}`)];
}

function filledKeys(values: readonly unknown[]): string[] {
  const keys = values.flatMap((value) =>
    typeof value === "object" && value !== null ? Object.entries(value).flatMap(([key, item]) => (saysSomething(item) ? [key] : [])) : [],
  );
  return [...new Set(keys)];
}

/** The conversation in a list of messages of ShareGPT's kind ({from, value}) or OpenAI's ({role, content}). Throws RowProblem. */
export function readMessages(list: readonly unknown[], column: string): Conversation {
  const messages = list.map((message, at) => readMessage(message, `${column}[${at}]`));
  const system = messages[0]?.role === "system" ? messages.shift()!.content : "";
  const wrong = messages.findIndex(({ role }, at) => role !== (at % 2 === 0 ? "user" : "assistant"));
  if (wrong >= 0)
    throw new RowProblem(
      `${column}: expected questions and answers in turn after the system message, got ${messages[wrong]!.role} as message ${wrong + 1} of them`,
    );
  if (messages.length % 2 === 1) throw new RowProblem(`${column}: the last message is a question without an answer`);
  const turns = messages.flatMap((message, at): Turn[] => {
    if (at % 2 === 0) return [];
    return [{ instruction: messages[at - 1]!.content, input: "", output: message.content, scored: message.weight !== 0 }];
  });
  const empty = turns.findIndex(({ output }) => isBlank(output));
  if (empty >= 0 && turns.some(({ output }) => !isBlank(output))) throw new RowProblem(`${column}: answer ${empty + 1} is empty`);
  return { system: isBlank(system) ? "" : system, turns };
}

/** Earlier turns in a list of pairs, [question, answer]. Throws RowProblem. */
export function readHistory(value: unknown, column: string): Turn[] {
  if (!saysSomething(value)) return [];
  return checkedList(value, column).map((pair, at) => {
    const where = `${column}[${at}]`;
    if (!Array.isArray(pair) || pair.length !== 2) throw new RowProblem(`${where}: expected [question, answer], got ${kindOf(pair)}`);
    const [instruction, output] = pair.map((text) => checkedText(text, where)) as [string, string];
    if (isBlank(output)) throw new RowProblem(`${where}: the answer is empty`);
    return { instruction, input: "", output, scored: true };
  });
}

function readMessage(message: unknown, where: string): { role: string; content: string; weight: unknown } {
  if (typeof message !== "object" || message === null || Array.isArray(message))
    throw new RowProblem(`${where}: expected an object, got ${kindOf(message)}`);
  const fields = message as Fields;
  const refused = REFUSED.find((key) => saysSomething(fields[key]));
  if (refused !== undefined) throw new RowProblem(`${where} has ${refused}, which Roslin does not train on`);
  const said = checkedText(fields[columnIn(fields, ["role", "from"])], `${where}.role`);
  const role = Object.hasOwn(ROLES, said) ? ROLES[said]! : null;
  if (role === null) throw new RowProblem(`${where}: the role ${JSON.stringify(said)} is none of ${Object.keys(ROLES).join(", ")}`);
  const { weight } = fields;
  if (weight != null && ![0, 1].includes(Number(weight))) throw new RowProblem(`${where}.weight: expected 0 or 1, got ${kindOf(weight)}`);
  const key = columnIn(fields, ["content", "value"]);
  return { role, content: contentOf(fields[key], `${where}.${key}`), weight: Number(weight ?? 1) };
}

/** A message's text; of a list of parts the texts, one after the other. */
function contentOf(content: unknown, where: string): string {
  if (content === null) return "";
  if (!Array.isArray(content)) return checkedText(content, where);
  const parts = content.map((part, at) => {
    if (typeof part === "string") return checkedText(part, where);
    const { type, text } = (part ?? {}) as Fields;
    if (type !== "text") throw new RowProblem(`${where}[${at}]: a part of type ${JSON.stringify(type ?? kindOf(part))} is not text`);
    return checkedText(text, `${where}[${at}].text`);
  });
  return parts.join("");
}
