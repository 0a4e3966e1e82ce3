/** One row of a data file: its fields, or why it couldn't be read. */
export type SourceRow = { readonly fields: Readonly<Record<string, unknown>> } | { readonly problem: string };

/** Consecutive rows of one data file. */
export interface FileBatch {
  readonly rows: readonly SourceRow[];
  /** names of the columns that the file has, as far as these rows say */
  readonly columns: readonly string[];
  /** names of those columns that have content in these rows: values other than null, blank text, an empty list and an empty object */
  readonly filled: readonly string[];
  /** share of the file read so far, 0 to 1 */
  readonly read: number;
}

/** Consecutive rows of the source. */
export interface RowBatch extends FileBatch {
  /** the data file's path below the dataset's directory; its name for a single file */
  readonly file: string;
}

/** Names of the columns that have content in rows whose fields are all there. */
export function filledColumns(rows: readonly SourceRow[]): string[] {
  const filled = new Set<string>();
  for (const row of rows)
    if ("fields" in row)
      for (const [name, value] of Object.entries(row.fields)) if (!filled.has(name) && hasContent(value)) filled.add(name);
  return [...filled];
}

/** Whether a value says something. */
export function hasContent(value: unknown): boolean {
  if (value === null || value === undefined) return false;
  if (typeof value === "string") return value.trim() !== "";
  if (typeof value !== "object") return true;
  return ArrayBuffer.isView(value) ? value.byteLength > 0 : Object.keys(value).length > 0;
}
