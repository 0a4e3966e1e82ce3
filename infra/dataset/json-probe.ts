import { UserError } from "../../core/errors.js";
import { unwrappedAt, type JsonShape, type TopKey } from "./json-shape.js";

const [NEWLINE, QUOTE, COMMA, OPEN_ARRAY, BACKSLASH, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT, COLON] = Buffer.from(
  '\n",[\\]{}:',
) as unknown as readonly [number, number, number, number, number, number, number, number, number];
const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
/** Keys are looked at down to this depth: those of the file's object, of what lies in it, and of a list's first row. */
const KEY_DEPTH = 3;
/** Bytes of a key that are kept. */
const KEY_BYTES = 256;
/** Keys of one object that are kept; more than these are rows by number. */
const MAX_KEYS = 64;

/** Finds out how rows lie in a JSON file, from as much of its start as that takes: all of it if it is one object. */
export class JsonProbe {
  private readonly file: string;
  private readonly columns: readonly string[];
  private readonly isLinesName: boolean;
  private state: "start" | "object" | "after" = "start";
  private offset = 0;
  private line = 1;
  private lineStart = 0;
  private depth = 0;
  private inString = false;
  private escaped = false;
  /** bytes of the last string that may be a key */
  private text: number[] = [];
  /** kinds of the containers that are open, outermost first, down to KEY_DEPTH */
  private readonly open: boolean[] = [];
  private readonly keys: TopKey[] = [];
  /** whether the next value, or the next list's first element, is one that `keys` tell of */
  private wants: "value" | "element" | null = null;
  /** the key in an object of `keys` whose value is looked at */
  private below: string | null = null;
  /** whether the first object goes over several lines */
  private spans = false;
  /** the last byte of the first line that is not white space */
  private firstLineEnd = 0;
  /** whether a line feed follows the first object */
  private newlineAfter = false;

  /** `columns` are the names that rows are expected to have; `isLinesName`: the file's name promises a row a line. */
  constructor(file: string, columns: readonly string[], isLinesName: boolean) {
    [this.file, this.columns, this.isLinesName] = [file, columns, isLinesName];
  }

  /** Takes the file's next bytes; gives the shape when it is known. */
  push(chunk: Uint8Array): JsonShape | null {
    for (let at = 0; at < chunk.length; at++, this.offset++) {
      const byte = chunk[at]!;
      const shape = this.state === "object" ? this.inside(byte) : this.between(byte);
      if (shape !== null) return shape;
      if (byte === NEWLINE) {
        this.line++;
        this.lineStart = this.offset + 1;
      }
    }
    return null;
  }

  /** The shape of a file that has ended. Throws UserError if it is an object whose rows cannot be found. */
  end(): JsonShape {
    if (this.state === "start") return { form: "lines" };
    if (this.state === "after") return unwrappedAt(this.keys, this.columns, this.file) ?? { form: this.spans ? "objects" : "lines" };
    const opens =
      this.firstLineEnd === OPEN_OBJECT || this.firstLineEnd === OPEN_ARRAY || (this.firstLineEnd === COMMA && !this.isLinesName);
    if (this.spans && !opens) return { form: "lines" };
    if (!this.spans && this.isLinesName) return { form: "lines" };
    throw new UserError("a data file ends inside its first object: was it cut?", { file: this.file, line: this.line });
  }

  private between(byte: number): JsonShape | null {
    if (this.state === "after") {
      if (byte === NEWLINE) this.newlineAfter = true;
      if (isSpace(byte)) return null;
      if (this.spans) return { form: "objects" };
      return { form: byte === OPEN_OBJECT && !this.newlineAfter ? "objects" : "lines" };
    }
    const isMark = this.offset < 3 && byte === [0xef, 0xbb, 0xbf][this.offset];
    if (isSpace(byte) || isMark) return null;
    // what is neither, the splitter names
    if (byte !== OPEN_OBJECT) return { form: byte !== OPEN_ARRAY && this.isLinesName ? "lines" : "list" };
    this.state = "object";
    this.depth = 1;
    this.open[0] = true;
    this.firstLineEnd = byte;
    return null;
  }

  private inside(byte: number): JsonShape | null {
    if (this.inString) {
      // a line feed inside a string is not JSON: if the first line is damaged, the others may be whole
      if (byte === NEWLINE) return { form: this.spans ? "objects" : "lines" };
      if (this.escaped) this.escaped = false;
      else if (byte === QUOTE) this.inString = false;
      else if (byte === BACKSLASH) this.escaped = true;
      if (this.inString && this.depth <= KEY_DEPTH && this.text.length < KEY_BYTES) this.text.push(byte);
      return null;
    }
    if (isSpace(byte)) {
      if (byte === NEWLINE) this.spans = true;
      return null;
    }
    if (!this.spans) this.firstLineEnd = byte;
    if (this.wants !== null) this.value(byte);
    if (byte === QUOTE) {
      this.inString = true;
      this.text = [];
    } else if (byte === COLON) this.key();
    else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
      if (this.depth < KEY_DEPTH) this.open[this.depth] = byte === OPEN_OBJECT;
      this.depth++;
    } else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
      if (--this.depth === 0) this.state = "after";
    }
    return null;
  }

  /** A colon: the string before it was a key. */
  private key(): void {
    const isTop = this.depth === 1;
    const top = this.keys.at(-1);
    if (isTop) {
      if (this.keys.length === MAX_KEYS) return;
      const name = this.keyText();
      this.keys.push({ name, kind: "scalar", first: "scalar", keys: [], below: [] });
      this.wants = "value";
    } else if (top !== undefined && this.depth === 2 && this.open[1] === true && top.keys.length < MAX_KEYS) {
      top.keys.push(this.keyText());
      [this.below, this.wants] = [top.keys.at(-1)!, "value"];
    } else if (top !== undefined && this.depth === 3 && this.open[1] === false && this.open[2] === true && top.keys.length < MAX_KEYS)
      top.keys.push(this.keyText());
  }

  private keyText(): string {
    const raw = Buffer.from(this.text).toString("utf8");
    try {
      return JSON.parse(`"${raw}"`) as string;
    } catch {
      return raw;
    }
  }

  /** The first byte of a value of the file's object or of an object in it, or of a list's first element. */
  private value(byte: number): void {
    const top = this.keys.at(-1)!;
    const wanted = this.wants;
    const kind = byte === OPEN_OBJECT ? "object" : byte === OPEN_ARRAY ? "list" : byte === QUOTE ? "text" : "scalar";
    this.wants = null;
    if (wanted === "value") {
      if (kind === "list") this.wants = "element";
      if (this.depth > 1) return;
      this.below = null;
      top.kind = kind;
      if (kind === "list") top.at = { offset: this.offset + 1, line: this.line, column: this.offset + 1 - this.lineStart };
      return;
    }
    const first = byte === CLOSE_ARRAY ? "nothing" : kind;
    if (this.below !== null && this.depth === 3) {
      if (first === "object") top.below.push(this.below);
    } else top.first = first;
  }
}
