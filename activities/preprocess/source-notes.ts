import { unusedKeys } from "../../core/rows/messages.js";
import { chooseReading, columnList, namedColumns, readColumns, type ColumnSettings, type RowReading } from "../../core/rows/row-reading.js";
import { UserError } from "../../core/errors.js";
import type { RowBatch } from "../../infra/dataset/row.js";
import type { ColumnStats } from "../../core/stages/metrics.js";

/** How many rows a file of the source has. */
export interface FileRows {
  /** its path below the dataset's directory */
  readonly file: string;
  readonly rows: number;
}

/** What the source is made of, noted while its rows pass. */
export class SourceNotes {
  private readonly columns = new Set<string>();
  private readonly filled = new Set<string>();
  private readonly keys = new Set<string>();
  private readonly rows = new Map<string, number>();
  private reading: RowReading | null = null;

  /** The same batches, noted. */
  async *note(batches: AsyncIterable<RowBatch>): AsyncGenerator<RowBatch> {
    for await (const batch of batches) {
      for (const name of batch.columns) this.columns.add(name);
      for (const name of batch.filled) this.filled.add(name);
      this.rows.set(batch.file, (this.rows.get(batch.file) ?? 0) + batch.rows.length);
      yield batch;
      this.noteKeys(batch);
    }
  }

  /** Notes how the columns are read. */
  choose(reading: RowReading): void {
    this.reading = reading;
  }

  get files(): FileRows[] {
    return [...this.rows].map(([file, rows]) => ({ file, rows })).filter(({ rows }) => rows > 0);
  }

  /** The columns with content, by whether they are used. Throws UserError if later files have columns of another format, or lack one that the settings name. */
  check(settings: ColumnSettings): ColumnStats {
    const names = { columns: [...this.columns], filled: [...this.filled] };
    chooseReading(names, settings);
    const missing = namedColumns(settings).find((name) => !this.columns.has(name) && !this.filled.has(name));
    if (missing !== undefined)
      throw new UserError("a column that dataset.columns names is not in the dataset", {
        column: missing,
        got: columnList(names.columns.slice(0, 20)),
      });
    const used = new Set(this.reading === null ? [] : readColumns(this.reading));
    const unused = [...names.filled.filter((name) => !used.has(name)), ...this.keys];
    return {
      usedColumns: columnList(names.filled.filter((name) => used.has(name))),
      ...(unused.length === 0 ? {} : { unusedColumns: columnList(unused) }),
    };
  }

  /** Notes what messages have besides role and content. */
  private noteKeys({ rows }: RowBatch): void {
    if (this.reading?.kind !== "conversations") return;
    for (const row of rows)
      if ("fields" in row)
        for (const column of this.reading.messages) for (const key of unusedKeys(row.fields[column])) this.keys.add(`${column}[].${key}`);
  }
}
