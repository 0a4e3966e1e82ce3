/** One question and its answer. */
export interface Turn {
  readonly instruction: string;
  /** the text that the instruction is about; empty: none */
  readonly input: string;
  readonly output: string;
  /** false: the answer is context, and carries no loss */
  readonly scored: boolean;
}

/** What a row says, whatever its columns are called. */
export interface Conversation {
  /** empty: none */
  readonly system: string;
  /** at least one; the earlier ones are the history of the last */
  readonly turns: readonly Turn[];
}

/** A message as chat templates know it. */
export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** Instruction and input as one text: the input is on the lines after the instruction. */
export function requestText({ instruction, input }: Pick<Turn, "instruction" | "input">): string {
  return input === "" ? instruction : `${instruction}\n${input}`;
}

/** The messages up to the question of turn `last`, 0-based. */
export function messagesUntil({ system, turns }: Conversation, last: number): Message[] {
  const messages: Message[] = system === "" ? [] : [{ role: "system", content: system }];
  for (const turn of turns.slice(0, last))
    messages.push({ role: "user", content: requestText(turn) }, { role: "assistant", content: turn.output });
  const turn = turns[last];
  if (turn !== undefined) messages.push({ role: "user", content: requestText(turn) });
  return messages;
}
