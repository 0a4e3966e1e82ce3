import { Readable } from "node:stream";
import { CsvError, parse } from "csv-parse";
import { formatOf } from "../../core/rows/data-format.js";
import { UserError } from "../../core/errors.js";
import { delimiterOf, headerLine, type Delimiter } from "./delimiter.js";
import { decodeText } from "./encoding.js";
import { readText, type Progress } from "./read-text.js";
import { columnsOf, hasContent, type FileBatch, type SourceRow } from "./row.js";

/** Rows that are handed on at a time. */
const BATCH_ROWS = 1024;
/** The longest row in characters: in a longer one a quote is missing. */
const MAX_ROW = 64 << 20;
/** The longest header in characters. */
const MAX_HEADER = 1 << 20;
/** What Excel writes before a header to name the character between fields. */
const EXCEL_LINE = /^sep=(.)(\r\n|\r(?!$)|\n)/;

/**
 * Reads a file with a header line, RFC 4180's quotes and UTF-8; lines may end in different ways, and fields be divided by
 * commas, tabs, semicolons or vertical bars. A quote inside a field is a character, as in Python. If a field goes on after its
 * closing quote, its quotes are characters, too; Python drops two of them. A row with too few or too many fields is a bad row.
 */
export async function* readCsv(path: string, signal: AbortSignal, columns: readonly string[]): AsyncGenerator<FileBatch> {
  const progress: Progress = { read: 0 };
  const source = decodeText(readText(path, signal, progress), path);
  const { text, delimiter, linesBefore } = await beginOf(source, path, columns);
  const lines = new Lines(linesBefore);
  const parser = parse({
    delimiter,
    // the types know rows only as they are without `info` and `raw`
    on_record: (row: unknown) => lines.ended(row as ParsedRow) as never,
    info: true,
    // by itself the parser expects all lines to end as the first one does
    record_delimiter: ["\r\n", "\n", "\r"],
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    max_record_size: MAX_ROW,
    raw: true,
  });
  async function* whole(): AsyncGenerator<string> {
    yield text;
    yield* source;
  }
  const input = Readable.from(whole());
  input.on("error", (error) => parser.destroy(error)).pipe(parser);
  let header: readonly string[] | undefined;
  let rows: SourceRow[] = [];
  const batch = (names: readonly string[]): FileBatch => ({
    rows,
    columns: [...new Set(names)],
    filled: columnsOf(rows).filled,
    read: progress.read,
  });
  try {
    for await (const { record, info, raw } of parser as AsyncIterable<ParsedRow>) {
      if (header === undefined) {
        header = headerOf(record, path, columns);
        continue;
      }
      rows.push(rowOf(record, raw, header, info.lines));
      if (rows.length < BATCH_ROWS) continue;
      yield batch(header);
      rows = [];
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const line = lines.firstOf(error as { readonly raw?: string });
    throw new UserError(`a data file is not CSV: is a quote missing in the row that begins in line ${line}?`, { file: path });
  } finally {
    input.destroy();
    await source.return(undefined);
  }
  if (header === undefined) throw new UserError("a data file is empty", { file: path });
  yield batch(header);
}

/** A row as the parser gives it; `lines`: the file's line in which the row ends, 1-based. */
interface ParsedRow {
  readonly record: readonly string[];
  readonly info: { readonly lines: number };
  readonly raw: string;
}

/** Counts lines as editors do: to the parser, a line feed of two bytes inside quotes is two of them. */
class Lines {
  private readonly before: number;
  private countedTwice = 0;
  private last: number;

  constructor(before: number) {
    this.before = before;
    this.last = before;
  }

  /** The next row that has ended, with the right line. The parser calls this in order, and before it finds a later mistake. */
  ended(row: ParsedRow): ParsedRow {
    this.countedTwice += row.raw.slice(emptyLines(row.raw)).match(/\r\n/g)?.length ?? 0;
    this.last = row.info.lines + this.before - this.countedTwice;
    return { ...row, info: { lines: this.last } };
  }

  /** The line in which the row after the last one begins, of whose text the beginning is known. */
  firstOf({ raw = "" }: { readonly raw?: string }): number {
    return this.last + 1 + emptyLines(raw);
  }
}

/** Empty lines before a row: the parser leaves one character of each in front of its text. */
function emptyLines(raw: string): number {
  return /^[\r\n]*/.exec(raw)![0].length;
}

/** The file's text as far as its header goes, and what divides its fields. */
async function beginOf(
  source: AsyncGenerator<string>,
  path: string,
  columns: readonly string[],
): Promise<{ readonly text: string; readonly delimiter: Delimiter; readonly linesBefore: number }> {
  let text = "";
  let header: string | null = null;
  let isWhole = false;
  while (!isWhole && header === null && text.length < MAX_HEADER) {
    const next = await source.next();
    if (next.done === true) isWhole = true;
    else text += next.value;
    header = headerLine(text);
    const [named, character] = EXCEL_LINE.exec(text) ?? [];
    if (named !== undefined && character !== undefined)
      return { text: text.slice(named.length), delimiter: character as Delimiter, linesBefore: 1 };
  }
  header ??= text;
  if (/^\s*(\[\s*)?\{\s*("|\}|$)/.test(text.slice(0, 1024)))
    throw new UserError("a data file is JSON, not CSV: give it the ending .json or .jsonl", { file: path });
  return { text, delimiter: delimiterOf(header, columns, formatOf(path) === ".tsv" ? "\t" : ",", path), linesBefore: 0 };
}

function headerOf(header: readonly string[], file: string, columns: readonly string[]): readonly string[] {
  const twice = columns.find((name) => header.indexOf(name) !== header.lastIndexOf(name));
  if (twice !== undefined)
    throw new UserError("a data file has two columns with the same name: rename one of them", { file, column: twice });
  return header;
}

function rowOf(record: readonly string[], raw: string, header: readonly string[], line: number): SourceRow {
  const joined = record.find((field) => field.startsWith('"') && /[\n\r]/.test(field) && !raw.includes(`"${field.replaceAll('"', '""')}"`));
  if (joined !== undefined)
    return {
      problem: `the row that ends in line ${line} goes over several lines, because a field begins with a quote that is not closed before the field ends (${JSON.stringify(joined.slice(0, 30))}): put the field into quotes, and write each quote in it twice`,
    };
  if (record.length !== header.length)
    return { problem: `the row that ends in line ${line} has ${record.length} fields, the header has ${header.length}` };
  const fields: Record<string, unknown> = Object.fromEntries(header.map((name, at) => [name, record[at]]));
  // of columns with the same name the last one stands, unless another says more
  if (Object.keys(fields).length < header.length)
    for (const [at, name] of header.entries()) if (!hasContent(fields[name])) fields[name] = record[at];
  return { fields };
}
