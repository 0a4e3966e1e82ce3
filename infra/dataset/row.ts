/** One row of a data file: its fields, or why it couldn't be read. */
export type SourceRow = { readonly fields: Readonly<Record<string, unknown>> } | { readonly problem: string };

/** Consecutive rows of one data file. */
export interface FileBatch {
  readonly rows: readonly SourceRow[];
  /** names of the columns that the file has, as far as these rows say */
  readonly columns: readonly string[];
  /** names of those columns that have content in these rows: a value with something in it, other than nulls, blank text and empty lists and objects */
  readonly filled: readonly string[];
  /** share of the file read so far, 0 to 1 */
  readonly read: number;
}

/** Consecutive rows of the source. */
export interface RowBatch extends FileBatch {
  /** the data file's path below the dataset's directory; its name for a single file */
  readonly file: string;
}

/** Names of all columns of rows whose fields are all there, and of those that have content. */
export function columnsOf(rows: readonly SourceRow[]): Pick<FileBatch, "columns" | "filled"> {
  const columns = new Set<string>();
  const filled = new Set<string>();
  for (const row of rows) {
    if (!("fields" in row)) continue;
    for (const name of Object.keys(row.fields)) {
      if (filled.has(name)) continue;
      columns.add(name);
      if (hasContent(row.fields[name])) filled.add(name);
    }
  }
  return { columns: [...columns], filled: [...filled] };
}

/** Values deeper than this are taken for content. */
const MAX_DEPTH = 16;

/** Whether a value says something. Lists and objects do if a value in them does: a column of Parquet has all its fields in each row, null where JSON would leave them out. */
export function hasContent(value: unknown, depth = 0): boolean {
  if (value === null || value === undefined) return false;
  if (typeof value === "string") return value.trim() !== "";
  if (typeof value !== "object" || depth === MAX_DEPTH) return true;
  if (ArrayBuffer.isView(value)) return value.byteLength > 0;
  if (value instanceof Date) return true;
  return Object.values(value).some((item) => hasContent(item, depth + 1));
}
