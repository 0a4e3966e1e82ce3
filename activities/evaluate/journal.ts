import { appendLine, reopenLines } from "../../infra/disk/line-journal.js";
import type { ModelName } from "../../core/stages/figures.js";

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
  const lines = await reopenLines<JournalLine>(path);
  return {
    lines,
    async add(line) {
      await appendLine(path, line);
      // as a later attempt would read it, so that both report the same
      lines.push(JSON.parse(JSON.stringify(line)) as JournalLine);
    },
  };
}
