import { UserError } from "../../core/errors.js";
import { bytes as readable } from "../../core/units.js";

/** The bytes of one row, and where they start: line from 1, columns before it. */
export interface JsonPiece {
  readonly bytes: Uint8Array;
  readonly line: number;
  readonly column: number;
}

/** Beyond this a row is no row: a quote or bracket is missing. */
const MAX_PIECE_BYTES = 64 << 20;

const [NEWLINE, QUOTE, COMMA, OPEN_ARRAY, BACKSLASH, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = Buffer.from(
  '\n",[\\]{}',
) as unknown as number[];
const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** Cuts a stream of JSON into rows without parsing it whole: the elements of an array, or lines. */
export class JsonSplitter {
  /** true: one row a line; false: an array */
  lines = false;
  private readonly file: string;
  private state: "start" | "rows" | "after" = "start";
  private readonly held: Uint8Array[] = [];
  private heldBytes = 0;
  /** of the array's own brackets and those inside a row */
  private depth = 0;
  private inString = false;
  private escaped = false;
  private pieces = 0;
  private line = 1;
  private column = 0;
  private pieceLine = 1;
  private pieceColumn = 0;

  constructor(file: string) {
    this.file = file;
  }

  /** Takes the file's next bytes; returns the rows that they complete. */
  push(chunk: Uint8Array): JsonPiece[] {
    const found: JsonPiece[] = [];
    let begin = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (this.state !== "rows") begin = this.outside(byte, at, begin);
      else if (this.endsPiece(byte)) {
        this.hold(chunk.subarray(begin, at));
        const last = !this.lines && byte === CLOSE_ARRAY;
        if (last) this.state = "after";
        // "[]" has no element, "[1,]" has an empty one, which is not JSON
        if (!this.isBlank() || (!this.lines && !(last && this.pieces === 0))) found.push(this.take());
        this.heldBytes = this.held.length = 0;
        begin = at + 1;
      }
      this.column++;
      if (byte === NEWLINE) {
        this.line++;
        this.column = 0;
      }
      if (begin === at + 1) [this.pieceLine, this.pieceColumn] = [this.line, this.column];
    }
    if (this.state === "rows") this.hold(chunk.subarray(begin));
    return found;
  }

  /** The last row of a file of lines; UserError when an array is not closed, or there is nothing. */
  end(): JsonPiece[] {
    if (this.state === "start") throw new UserError("a data file is empty", { file: this.file });
    if (this.state === "after" || (this.lines && this.isBlank())) return [];
    if (this.lines || !parses(this.held)) return [this.take()];
    throw new UserError("a data file ends inside its array of rows: was it cut?", { file: this.file, line: this.line, rows: this.pieces });
  }

  /** Before the first row and after the last: only the array's brackets and white space may stand there. */
  private outside(byte: number, at: number, begin: number): number {
    const isMark = this.state === "start" && this.line === 1 && this.column < 3 && byte === [0xef, 0xbb, 0xbf][this.column];
    if (isSpace(byte) || isMark) return begin;
    const isLine = byte === OPEN_OBJECT || this.file.toLowerCase().endsWith(".jsonl");
    if (this.state === "start" && (byte === OPEN_ARRAY || isLine)) {
      this.state = "rows";
      this.lines = byte !== OPEN_ARRAY;
      [this.pieceLine, this.pieceColumn] = [this.line, this.column];
      if (this.lines) return at;
      this.depth = 1;
      return at + 1;
    }
    const expected = this.state === "start" ? "an array of rows, or one row (an object) a line" : "nothing after the array of rows";
    throw new UserError("a data file is not JSON of rows", {
      file: this.file,
      line: this.line,
      column: this.column + 1,
      expected,
      got: JSON.stringify(String.fromCharCode(byte)),
    });
  }

  private endsPiece(byte: number): boolean {
    if (this.lines) return byte === NEWLINE;
    if (this.inString) {
      if (this.escaped) this.escaped = false;
      else if (byte === BACKSLASH) this.escaped = true;
      else if (byte === QUOTE) this.inString = false;
      return false;
    }
    if (byte === QUOTE) this.inString = true;
    else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) this.depth++;
    else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) return --this.depth === 0;
    return byte === COMMA && this.depth === 1;
  }

  private hold(bytes: Uint8Array): void {
    this.heldBytes += bytes.length;
    if (this.heldBytes > MAX_PIECE_BYTES)
      throw new UserError("a row of a data file has no end: is a quote or bracket missing?", {
        file: this.file,
        line: this.pieceLine,
        row: this.pieces,
        size: `more than ${readable(MAX_PIECE_BYTES)}`,
      });
    if (bytes.length > 0) this.held.push(bytes);
  }

  private isBlank(): boolean {
    return this.held.every((bytes) => bytes.every(isSpace));
  }

  private take(): JsonPiece {
    this.pieces++;
    return { bytes: Buffer.concat(this.held), line: this.pieceLine, column: this.pieceColumn };
  }
}

/** Whether what is held is a whole JSON value: then only the array's end is missing, else the parser names the place. */
function parses(held: readonly Uint8Array[]): boolean {
  const text = Buffer.concat(held).toString("utf8");
  if (text.trim() === "") return true;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
