import { appendFile, readFile } from "node:fs/promises";

/** What one model did with one batch, or with one sample. */
export type Item =
  | { readonly model: Which; readonly batch: number; readonly nll: number; readonly labels: number }
  | { readonly model: Which; readonly sample: number; readonly ids: readonly number[] };
/** The model before and after training. */
export type Which = "base" | "tuned";

/** Items as they are done, one line each, so that a killed evaluation doesn't do them again. */
export interface Journal {
  readonly items: readonly Item[];
  add(item: Item): Promise<void>;
}

/** Opens the journal at `path` with what an earlier attempt had done; a line that a kill cut short doesn't count. */
export async function openJournal(path: string): Promise<Journal> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const items: Item[] = text.split("\n").flatMap(parse);
  // what follows a cut line must not become a part of it
  if (text !== "" && !text.endsWith("\n")) await appendFile(path, "\n");
  return {
    items,
    async add(item) {
      await appendFile(path, `${JSON.stringify(item)}\n`);
      items.push(item);
    },
  };
}

function parse(line: string): Item[] {
  try {
    return [JSON.parse(line) as Item];
  } catch {
    return [];
  }
}
