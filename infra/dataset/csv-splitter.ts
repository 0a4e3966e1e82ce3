import { UserError } from "../../core/errors.js";
import { bytes } from "../../core/units.js";

/** One row of a CSV file, the header too; `line` is where it starts, from 1. */
export type CsvRecord = { readonly line: number } & ({ readonly fields: readonly string[] } | { readonly problem: string });

/** Characters; beyond this a row is no row: a quote is missing. */
const MAX_ROW = 64 << 20;
const [QUOTE, COMMA, CR, LF] = [0x22, 0x2c, 0x0d, 0x0a] as const;

/** Cuts a stream of text into rows by RFC 4180, with any line ends. After a stray quote it goes on in the next line. */
export class CsvSplitter {
  private readonly file: string;
  /** the text of a row that has not ended yet */
  private rest = "";
  /** so much of it is needed for another look, so that a huge row is not gone through with every piece */
  private enough = 0;
  private line = 1;

  constructor(file: string) {
    this.file = file;
  }

  /** Takes the file's next characters; returns the rows that they complete, without empty lines. */
  push(text: string): CsvRecord[] {
    this.rest += text;
    return this.rest.length < this.enough ? [] : this.take(false);
  }

  /** The last rows; UserError when a quote is open. */
  end(): CsvRecord[] {
    const found = this.take(true);
    if (this.rest === "") return found;
    throw new UserError("a data file ends inside a quoted field: is a quote missing?", { file: this.file, line: this.line });
  }

  private take(final: boolean): CsvRecord[] {
    const found: CsvRecord[] = [];
    const text = this.rest;
    let start = 0;
    while (start < text.length) {
      const row = rowAt(text, start, final);
      if (row === null) break;
      const { end, ...content } = row;
      const isEmpty = "fields" in content && content.fields.length === 1 && text.charCodeAt(start) !== QUOTE && content.fields[0] === "";
      if (!isEmpty) found.push({ line: this.line, ...content });
      this.line += lineEnds(text, start, end);
      start = end;
    }
    this.rest = text.slice(start);
    this.enough = this.rest.length * 2;
    if (this.rest.length > MAX_ROW)
      throw new UserError("a row of a data file has no end: is a quote missing?", {
        file: this.file,
        line: this.line,
        size: `more than ${bytes(MAX_ROW)}`,
      });
    return found;
  }
}

type Row = { readonly end: number } & ({ readonly fields: readonly string[] } | { readonly problem: string });

/** The row that starts at `start`, and where the next one does; null when more text is needed to tell. */
function rowAt(text: string, start: number, final: boolean): Row | null {
  const fields: string[] = [];
  for (let at = start; ; at++) {
    if (text.charCodeAt(at) === QUOTE) {
      const closing = closingQuote(text, at + 1);
      if (closing < 0 || (closing + 1 === text.length && !final)) return null;
      fields.push(text.slice(at + 1, closing).replaceAll('""', '"'));
      at = closing + 1;
      if (at < text.length && !endsField(text.charCodeAt(at))) return bad(text, at, final, "text after a closing quote");
    } else {
      const from = at;
      while (at < text.length && !endsField(text.charCodeAt(at)) && text.charCodeAt(at) !== QUOTE) at++;
      if (at === text.length && !final) return null;
      if (text.charCodeAt(at) === QUOTE) return bad(text, at, final, "a quote inside a field that does not begin with one");
      fields.push(text.slice(from, at));
    }
    if (text.charCodeAt(at) === COMMA) continue;
    const end = behindLineEnd(text, at, final);
    return end === null ? null : { fields, end };
  }
}

/** A row that is none from `at` on: it is taken to end with the line. */
function bad(text: string, at: number, final: boolean, problem: string): Row | null {
  let lineEnd = at;
  while (lineEnd < text.length && text.charCodeAt(lineEnd) !== CR && text.charCodeAt(lineEnd) !== LF) lineEnd++;
  const end = lineEnd === text.length && !final ? null : behindLineEnd(text, lineEnd, final);
  return end === null ? null : { problem, end };
}

/** Where the quote is that closes a field; two in a row stand for one in the text. */
function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at >= 0; at = text.indexOf('"', at + 2)) if (text.charCodeAt(at + 1) !== QUOTE) return at;
  return -1;
}

function endsField(unit: number): boolean {
  return unit === COMMA || unit === LF || unit === CR;
}

/** Behind the line end at `at`, or the text's own; null while a line feed may follow. */
function behindLineEnd(text: string, at: number, final: boolean): number | null {
  if (text.charCodeAt(at) !== CR) return Math.min(at + 1, text.length);
  if (at + 1 === text.length && !final) return null;
  return text.charCodeAt(at + 1) === LF ? at + 2 : at + 1;
}

function lineEnds(text: string, start: number, end: number): number {
  let count = 0;
  for (let at = start; at < end; at++) {
    const unit = text.charCodeAt(at);
    if (unit === LF || (unit === CR && text.charCodeAt(at + 1) !== LF)) count++;
  }
  return count;
}
