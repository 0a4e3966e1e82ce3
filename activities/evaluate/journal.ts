import { appendLine, reopenLines } from "../../infra/disk/line-journal.js";

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
  const items = await reopenLines<Item>(path);
  return {
    items,
    async add(item) {
      await appendLine(path, item);
      items.push(item);
    },
  };
}
