import { UserError } from "../../core/errors.js";

const ADVICE = "save it as UTF-8";

/** Throws UserError if a file's first bytes are those of UTF-16 or UTF-32. */
export function checkEncoding(first: Uint8Array, file: string): void {
  const [one, two] = first;
  const hasMark = (one === 0xff && two === 0xfe) || (one === 0xfe && two === 0xff);
  if (hasMark || first.subarray(0, 4).includes(0)) throw new UserError(`a data file is UTF-16 or UTF-32: ${ADVICE}`, { file });
}

/** A file's bytes as text, without a byte order mark; UserError naming the line that is not UTF-8. */
export async function* decodeText(source: AsyncIterable<unknown>, file: string): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let lines = 0;
  let first = true;
  let last: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of source) {
      if (first) checkEncoding(chunk as Buffer, file);
      first = false;
      last = chunk as Buffer;
      yield decoder.decode(last, { stream: true });
      lines += newlines(last);
    }
    yield decoder.decode();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw notUtf8(file, lines + 1 + newlines(last.subarray(0, firstWrong(last))));
  }
}

/** The error for a file that is in another encoding. */
export function notUtf8(file: string, line: number): UserError {
  return new UserError(`a data file is not UTF-8: ${ADVICE}`, { file, line });
}

/** The index of the first byte that is not UTF-8; the length if all bytes are. */
function firstWrong(bytes: Uint8Array): number {
  const text = new TextDecoder().decode(bytes);
  const at = text.indexOf("\uFFFD");
  return at < 0 ? bytes.length : Buffer.byteLength(text.slice(0, at));
}

function newlines(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(0x0a); at >= 0; at = bytes.indexOf(0x0a, at + 1)) count++;
  return count;
}
