import { writeSync } from "node:fs";
import { appendFile, readFile } from "node:fs/promises";

/** Journals: files that grow by a line at a time. A kill can cut the last line short, and a power loss any; such lines don't count. */

/** Adds a value as one line of JSON. */
export async function appendLine(path: string, value: unknown): Promise<void> {
  await appendFile(path, `${JSON.stringify(value)}\n`);
}

/** The same in an open file, at once. */
export function appendLineSync(file: number, value: unknown): void {
  writeSync(file, `${JSON.stringify(value)}\n`);
}

/** The values of all lines that are JSON; none when there is no file. */
export async function readLines<T>(path: string): Promise<T[]> {
  return (await textOf(path)).split("\n").flatMap((line) => {
    try {
      return [JSON.parse(line) as T];
    } catch {
      return [];
    }
  });
}

/** The same for a journal that goes on. */
export async function reopenLines<T>(path: string): Promise<T[]> {
  await endTornLine(path);
  return await readLines<T>(path);
}

/** Ends a last line that was cut short, or else the next one would become a part of it. */
export async function endTornLine(path: string): Promise<void> {
  const text = await textOf(path);
  if (text !== "" && !text.endsWith("\n")) await appendFile(path, "\n");
}

/** The lines of a journal's text that have their end; for journals whose lines are not JSON. */
export function wholeLines(text: string): string[] {
  return text.split("\n").slice(0, -1);
}

async function textOf(path: string): Promise<string> {
  return await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
}
