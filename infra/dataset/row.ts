/** One row of a data file: its fields, or why it couldn't be read. */
export type SourceRow = { readonly fields: Readonly<Record<string, unknown>> } | { readonly problem: string };

/** Consecutive rows of the source. */
export interface RowBatch {
  readonly rows: readonly SourceRow[];
  /** names of the columns that the file has, as far as these rows say */
  readonly columns: readonly string[];
  /** share of the source read so far, 0 to 1 */
  readonly read: number;
}
