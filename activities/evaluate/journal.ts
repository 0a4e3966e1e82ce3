import { appendFile, readFile } from "node:fs/promises";
import type { ModelName } from "./task.js";

/** What one model did with one item of a task. */
export interface JournalLine {
  readonly model: ModelName;
  /** the task's name */
  readonly task: string;
  /** index of the item, 0-based */
  readonly item: number;
  readonly value: unknown;
}

/** Items as they are done, one line each, so that a killed evaluation doesn't do them again. */
export interface Journal {
  readonly lines: readonly JournalLine[];
  add(line: JournalLine): Promise<void>;
}

/** Opens the journal at `path` with what earlier attempts did; a line that a kill cut short doesn't count. */
export async function openJournal(path: string): Promise<Journal> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const lines = text.split("\n").flatMap(parseLine);
  // what follows a cut line must not become a part of it
  if (text !== "" && !text.endsWith("\n")) await appendFile(path, "\n");
  return {
    lines,
    async add(line) {
      const written = JSON.stringify(line);
      await appendFile(path, `${written}\n`);
      // as a later attempt would read it, so that both report the same
      lines.push(JSON.parse(written) as JournalLine);
    },
  };
}

function parseLine(line: string): JournalLine[] {
  try {
    return [JSON.parse(line) as JournalLine];
  } catch {
    return [];
  }
}
