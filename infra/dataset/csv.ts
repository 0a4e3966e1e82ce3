import { createReadStream, statSync } from "node:fs";
import { Readable } from "node:stream";
import { CsvError, parse } from "csv-parse";
import { COLUMNS } from "../../core/rows/row-rules.js";
import { UserError } from "../../core/errors.js";
import { decodeText } from "./encoding.js";
import { filledColumns, type FileBatch, type SourceRow } from "./row.js";

/** Rows that are handed on at a time. */
const BATCH_ROWS = 1024;
/** The longest row in characters: in a longer one a quote is missing. */
const MAX_ROW = 64 << 20;

/**
 * Reads a file with a header line, RFC 4180's quotes and UTF-8; lines may end in different ways. A quote inside a field is
 * a character, as in Python. If a field goes on after its closing quote, its quotes are characters, too; Python drops two of
 * them. A row with too few or too many fields is a bad row.
 */
export async function* readCsv(path: string): AsyncGenerator<FileBatch> {
  const bytes = Math.max(1, statSync(path).size);
  const source = createReadStream(path, { highWaterMark: 1 << 18 });
  const parser = parse({
    info: true,
    // by itself the parser expects all lines to end as the first one does
    record_delimiter: ["\r\n", "\n", "\r"],
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    max_record_size: MAX_ROW,
  });
  const text = Readable.from(decodeText(source, path));
  text.on("error", (error) => parser.destroy(error)).pipe(parser);
  let header: readonly string[] | undefined;
  let rows: SourceRow[] = [];
  try {
    for await (const { record, info } of parser as AsyncIterable<{ record: string[]; info: { lines: number } }>) {
      if (header === undefined) {
        header = headerOf(record, path);
        continue;
      }
      rows.push(rowOf(record, header, info.lines));
      if (rows.length < BATCH_ROWS) continue;
      yield { rows, columns: header, filled: filledColumns(rows), read: source.bytesRead / bytes };
      rows = [];
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new UserError("a data file is not CSV: is a quote missing?", { file: path }, { cause: error });
  } finally {
    source.destroy();
  }
  if (header === undefined) throw new UserError("a data file is empty", { file: path });
  yield { rows, columns: header, filled: filledColumns(rows), read: 1 };
}

function headerOf(header: readonly string[], file: string): readonly string[] {
  const twice = COLUMNS.find((name) => header.indexOf(name) !== header.lastIndexOf(name));
  if (twice !== undefined)
    throw new UserError("a data file has two columns with the same name: rename one of them", { file, column: twice });
  return header;
}

function rowOf(record: readonly string[], header: readonly string[], line: number): SourceRow {
  if (record.length !== header.length)
    return { problem: `the row that ends in line ${line} has ${record.length} fields, the header has ${header.length}` };
  return { fields: Object.fromEntries(header.map((name, at) => [name, record[at]])) };
}
