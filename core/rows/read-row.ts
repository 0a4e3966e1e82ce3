import type { Conversation } from "../text/conversation.js";
import { readHistory, readMessages } from "./messages.js";
import { checkedList, columnIn, isBlank, nullableText, optionalText, RowProblem, type Fields } from "./row-fields.js";
import type { RowReading } from "./row-reading.js";

/** What a row says; null: its answer is empty. */
export type ReadRow = (fields: Fields) => Conversation | null;

/** A function that reads rows of text. It throws RowProblem with why a row cannot be read. */
export function rowReader(reading: Exclude<RowReading, { readonly kind: "tokens" }>): ReadRow {
  if (reading.kind === "conversations")
    return (fields) => {
      const column = columnIn(fields, reading.messages);
      const { system, turns } = readMessages(checkedList(fields[column], column), column);
      const beside = optionalText(fields, reading.system);
      if (!isBlank(beside) && system !== "" && system !== beside)
        throw new RowProblem(`${column} and ${reading.system[0]} both have a system message`);
      return turns.every(({ output }) => isBlank(output)) ? null : { system: isBlank(beside) ? system : beside, turns };
    };
  return (fields) => {
    const instruction = nullableText(fields, reading.instruction);
    if (instruction === null) throw new RowProblem(`${reading.instruction[0]}: expected text, got null`);
    const output = nullableText(fields, reading.output);
    const input = optionalText(fields, reading.input);
    const system = optionalText(fields, reading.system);
    if (output === null || isBlank(output)) return null;
    const turn = { instruction, input, output, scored: true };
    const [column] = reading.history;
    const earlier = column === undefined || fields[column] == null ? [] : readHistory(fields[column], column);
    return { system: system !== "" && isBlank(system) ? "" : system, turns: earlier.length === 0 ? [turn] : [...earlier, turn] };
  };
}
