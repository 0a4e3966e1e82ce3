import { CorruptError } from "../errors.js";

/** The most bytes of a header: one of 262,144 tokens with merges has about 12 MB. */
const MAX_HEADER_BYTES = 64 << 20;
/** The most bytes of a text: a chat template has about 10 kB. */
const MAX_TEXT_BYTES = 1 << 20;

/** Thrown when a header goes on after the bytes that are there. */
export class MoreBytes extends Error {}

/** Reads a GGUF's header from its first bytes, little-endian, and never beyond them. */
export class GgufCursor {
  at = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly fileBytes: number;
  private readonly where: string;
  private readonly decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  constructor(bytes: Uint8Array, fileBytes: number, where: string) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.fileBytes = fileBytes;
    this.where = where;
  }

  /** Goes on by `count` bytes and returns where they begin; `what` names them in an error. */
  take(count: number, what: string): number {
    const start = this.at;
    const end = start + count;
    if (end > this.fileBytes) throw this.damage("a GGUF ends inside its header", { inside: what, expected: end, got: this.fileBytes });
    if (end > MAX_HEADER_BYTES)
      throw this.damage("a GGUF's header is too large", { inside: what, expected: `at most ${MAX_HEADER_BYTES} bytes`, got: end });
    if (end > this.bytes.length) throw new MoreBytes();
    this.at = end;
    return start;
  }

  uint32(what: string): number {
    return this.view.getUint32(this.take(4, what), true);
  }

  /** A count or an offset of 8 bytes, at most `limit`. */
  uint64(what: string, limit: number): number {
    const value = this.view.getBigUint64(this.take(8, what), true);
    if (value > BigInt(limit))
      throw this.damage("a GGUF has an impossible number", { what, expected: `at most ${limit}`, got: String(value) });
    return Number(value);
  }

  /** A value that `read` takes from `count` bytes. */
  scalar<T>(count: number, what: string, read: (view: DataView, at: number) => T): T {
    return read(this.view, this.take(count, what));
  }

  /** A copy of bytes, which begins at a fresh buffer. */
  copy(count: number, what: string): Uint8Array<ArrayBuffer> {
    const start = this.take(count, what);
    return new Uint8Array(this.bytes.subarray(start, start + count));
  }

  /** A text of at most `limit` bytes with its length before it. */
  text(what: string, limit: number = MAX_TEXT_BYTES): string {
    const length = this.uint64(`the length of ${what}`, limit);
    const start = this.take(length, what);
    const end = start + length;
    // most are short and ASCII, and a decoder costs more than their characters
    if (length <= 32) {
      let text = "";
      let at = start;
      for (; at < end && this.bytes[at]! < 0x80; at++) text += String.fromCharCode(this.bytes[at]!);
      if (at === end) return text;
    }
    try {
      return this.decoder.decode(this.bytes.subarray(start, end));
    } catch (error) {
      throw new CorruptError("a GGUF has a text that is not UTF-8", { file: this.where, what }, { cause: error });
    }
  }

  damage(message: string, details: Readonly<Record<string, string | number>>): CorruptError {
    return new CorruptError(message, { file: this.where, ...details });
  }
}
