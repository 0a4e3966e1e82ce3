import { UserError } from "../../core/errors.js";
import { bytes as readable } from "../../core/units.js";
import type { JsonShape } from "./json-shape.js";

/** The bytes of one row, and where they start: line from 1, columns before it. */
export interface JsonPiece {
  readonly bytes: Uint8Array;
  readonly line: number;
  readonly column: number;
}

/** The longest row in bytes: in a longer one a quote or bracket is missing. */
const MAX_PIECE_BYTES = 64 << 20;

const [NEWLINE, QUOTE, COMMA, OPEN_ARRAY, BACKSLASH, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = Buffer.from(
  '\n",[\\]{}',
) as unknown as readonly [number, number, number, number, number, number, number, number];
const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** Cuts a stream of JSON into rows without parsing it whole: the elements of an array, lines, or objects one after the other. */
export class JsonSplitter {
  /** how rows lie in the file; known when the first one has begun */
  form: JsonShape["form"] = "list";
  private readonly file: string;
  private readonly expected: JsonShape["form"] | null;
  /** whether the array lies below a key */
  private readonly isInside: boolean;
  /** bytes before the rows that are still to come */
  private skip = 0;
  private state: "start" | "rows" | "between" | "after" | "done" = "start";
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

  /** Without a shape the first byte decides between an array and lines. */
  constructor(file: string, shape?: JsonShape) {
    this.file = file;
    this.expected = shape?.form ?? null;
    this.isInside = shape?.inside !== undefined;
    if (shape?.inside === undefined) return;
    [this.state, this.depth, this.skip] = ["rows", 1, shape.inside.offset];
    [this.line, this.column] = [this.pieceLine, this.pieceColumn] = [shape.inside.line, shape.inside.column];
  }

  /** Takes the file's next bytes; returns the rows that they complete. */
  push(chunk: Uint8Array): JsonPiece[] {
    const found: JsonPiece[] = [];
    const before = Math.min(this.skip, chunk.length);
    this.skip -= before;
    for (let at = before; at < chunk.length;) {
      if (this.state === "done") break;
      if (this.state !== "rows") {
        at = this.outside(chunk, at);
        continue;
      }
      const end = this.form === "lines" ? chunk.indexOf(NEWLINE, at) : this.elementEnd(chunk, at);
      if (end < 0) {
        this.hold(chunk.subarray(at));
        this.pass(chunk, at, chunk.length);
        break;
      }
      if (this.form === "objects") {
        this.hold(chunk.subarray(at, end + 1));
        this.state = "between";
      } else this.hold(chunk.subarray(at, end));
      const isList = this.form === "list";
      const last = isList && chunk[end] === CLOSE_ARRAY;
      // what follows a list below a key has been seen, and holds no rows
      if (last) this.state = this.isInside ? "done" : "after";
      // "[]" has no element, "[1,]" has an empty one, which is not JSON
      if (!this.isBlank() || (isList && !(last && this.pieces === 0))) found.push(this.take());
      this.heldBytes = this.held.length = 0;
      this.pass(chunk, at, end + 1);
      [this.pieceLine, this.pieceColumn] = [this.line, this.column];
      at = end + 1;
    }
    return found;
  }

  /** The last row of a file of lines; UserError when an array is not closed, or there is nothing. */
  end(): JsonPiece[] {
    if (this.state === "start") throw new UserError("a data file is empty", { file: this.file });
    if (this.state !== "rows" || (this.form === "lines" && this.isBlank())) return [];
    if (this.form !== "list" || !parses(this.held)) return [this.take()];
    throw new UserError("a data file ends inside its array of rows: was it cut?", { file: this.file, line: this.line, rows: this.pieces });
  }

  /** Between rows, before the first and after the last: only an array's brackets and white space may stand there. Gives the place to go on from. */
  private outside(chunk: Uint8Array, at: number): number {
    const byte = chunk[at]!;
    const isMark = this.state === "start" && this.line === 1 && this.column < 3 && byte === [0xef, 0xbb, 0xbf][this.column];
    if (isSpace(byte) || isMark) {
      this.pass(chunk, at, at + 1);
      return at + 1;
    }
    const form = this.formAt(byte);
    if (form !== null) {
      this.state = "rows";
      this.form = form;
      const begin = form === "list" ? at + 1 : at;
      this.depth = form === "objects" ? 0 : 1;
      this.pass(chunk, at, begin);
      [this.pieceLine, this.pieceColumn] = [this.line, this.column];
      return begin;
    }
    const expected = { start: "an array of rows, or one row (an object) a line", between: "one more row (an object), or nothing" };
    throw new UserError("a data file is not JSON of rows", {
      file: this.file,
      line: this.line,
      column: this.column + 1,
      expected: expected[this.state as "start"] ?? "nothing after the array of rows",
      got: JSON.stringify(String.fromCharCode(byte)),
    });
  }

  /** The form of rows that begin with this byte; null: none do. */
  private formAt(byte: number): JsonShape["form"] | null {
    if (this.state === "between") return byte === OPEN_OBJECT ? "objects" : null;
    if (this.state !== "start") return null;
    if (byte === OPEN_ARRAY) return "list";
    if (byte === OPEN_OBJECT) return this.expected === "objects" ? "objects" : "lines";
    return this.expected === "lines" ? "lines" : null;
  }

  /** The end of the row that contains `at`: in an array the index of the comma or bracket after it, else that of its own last bracket; -1: not in this chunk. */
  private elementEnd(chunk: Uint8Array, at: number): number {
    // in local variables, because the loop sees every byte
    let { depth, inString, escaped } = this;
    const isList = this.form === "list";
    let end = -1;
    for (; at < chunk.length && end < 0; at++) {
      const byte = chunk[at]!;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === QUOTE) inString = false;
        else if (byte === BACKSLASH) escaped = true;
      } else if (byte === QUOTE) inString = true;
      else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) depth++;
      else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
        if (--depth === 0) end = at;
      } else if (byte === COMMA && depth === 1 && isList) end = at;
    }
    [this.depth, this.inString, this.escaped] = [depth, inString, escaped];
    return end;
  }

  /** Counts lines and columns of the bytes that are done with. */
  private pass(chunk: Uint8Array, from: number, to: number): void {
    const passed = chunk.subarray(from, to);
    let start = -this.column;
    for (let at = passed.indexOf(NEWLINE); at >= 0; at = passed.indexOf(NEWLINE, at + 1)) {
      this.line++;
      start = at + 1;
    }
    this.column = passed.length - start;
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
    const bytes = this.held.length === 1 ? this.held[0]! : Buffer.concat(this.held);
    return { bytes, line: this.pieceLine, column: this.pieceColumn };
  }
}

/** Whether the bytes held are a whole JSON value. If so, only the array's end is missing; if not, the parser names the place. */
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
