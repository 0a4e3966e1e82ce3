import { createReadStream, statSync } from "node:fs";
import { COLUMNS } from "../../core/data/row-rules.js";
import { UserError } from "../../core/errors.js";
import { CsvSplitter, type CsvRecord } from "./csv-splitter.js";
import { decodeText } from "./encoding.js";
import type { RowBatch, SourceRow } from "./row.js";

/** Reads a file with a header line, RFC 4180's quotes and UTF-8. A row with a stray quote, too few or too many fields is a bad row. */
export async function* readCsv(path: string): AsyncGenerator<RowBatch> {
  const bytes = Math.max(1, statSync(path).size);
  const source = createReadStream(path, { highWaterMark: 1 << 18 });
  const splitter = new CsvSplitter(path);
  let header: readonly string[] | null = null;
  const batchOf = (records: CsvRecord[], read: number): RowBatch | null => {
    header ??= records.length === 0 ? null : headerOf(records.shift()!, path);
    const columns = header;
    return columns === null ? null : { rows: records.map((record) => rowOf(record, columns)), columns, read };
  };
  for await (const text of decodeText(source, path)) {
    const batch = batchOf(splitter.push(text), source.bytesRead / bytes);
    if (batch !== null) yield batch;
  }
  const last = batchOf(splitter.end(), 1);
  if (last === null) throw new UserError("a data file is empty", { file: path });
  yield last;
}

function headerOf(record: CsvRecord, file: string): readonly string[] {
  if ("problem" in record) throw new UserError("a data file's header is not CSV", { file, line: record.line, problem: record.problem });
  const twice = COLUMNS.find((name) => record.fields.indexOf(name) !== record.fields.lastIndexOf(name));
  if (twice !== undefined)
    throw new UserError("a data file has two columns of one name: rename one of them", { file, line: record.line, column: twice });
  return record.fields;
}

function rowOf(record: CsvRecord, header: readonly string[]): SourceRow {
  if ("problem" in record) return { problem: `line ${record.line}: ${record.problem}` };
  const { line, fields } = record;
  if (fields.length !== header.length) return { problem: `line ${line}: ${fields.length} fields, the header has ${header.length}` };
  return { fields: Object.fromEntries(header.map((name, at) => [name, fields[at]])) };
}
