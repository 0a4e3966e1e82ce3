import { createReadStream, statSync } from "node:fs";
import { UserError } from "../../core/errors.js";
import { checkEncoding, notUtf8 } from "./encoding.js";
import { JsonSplitter, type JsonPiece } from "./json-splitter.js";
import { filledColumns, type FileBatch, type SourceRow } from "./row.js";

/** Rows of a batch that say which columns there are. */
const COLUMNS_OF = 100;

/** Reads an array of rows, or one row a line. A line that is not a row is a bad row; in an array, a bad place ends the reading with an error, because nothing after it can be trusted. */
export async function* readJson(path: string): AsyncGenerator<FileBatch> {
  const bytes = statSync(path).size;
  const splitter = new JsonSplitter(path);
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const batchOf = (pieces: readonly JsonPiece[], read: number): FileBatch => {
    const rows = pieces.map((piece) => parse(piece, splitter.lines, text, path));
    const columns = new Set(rows.slice(0, COLUMNS_OF).flatMap((row) => ("fields" in row ? Object.keys(row.fields) : [])));
    return { rows, columns: [...columns], filled: filledColumns(rows), read };
  };
  let done = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 18 })) {
    if (done === 0) checkEncoding(chunk as Buffer, path);
    const pieces = splitter.push(chunk as Buffer);
    done += (chunk as Buffer).length;
    if (pieces.length > 0) yield batchOf(pieces, done / bytes);
  }
  yield batchOf(splitter.end(), 1);
}

function parse(piece: JsonPiece, lines: boolean, decoder: InstanceType<typeof TextDecoder>, file: string): SourceRow {
  let text: string;
  try {
    text = decoder.decode(piece.bytes);
  } catch {
    if (lines) return { problem: `line ${piece.line}: not UTF-8` };
    throw notUtf8(file, piece.line);
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { fields: value as Record<string, unknown> };
    return { problem: `line ${piece.line}: expected an object, got ${text.trim().slice(0, 40)}` };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const at = Number(/position (\d+)/.exec(message)?.[1] ?? text.length);
    const before = text.slice(0, at).split("\n");
    const line = piece.line + before.length - 1;
    const column = before.at(-1)!.length + 1 + (before.length === 1 ? piece.column : 0);
    if (lines) return { problem: `line ${line}, column ${column}: no JSON object on one line: ${message}` };
    throw new UserError("a data file is not JSON", { file, line, column }, { cause: error });
  }
}
