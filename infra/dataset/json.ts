import { formatOf } from "../../core/rows/data-format.js";
import { UserError } from "../../core/errors.js";
import { notUtf8 } from "./encoding.js";
import { JsonProbe } from "./json-probe.js";
import type { JsonShape } from "./json-shape.js";
import { JsonSplitter, type JsonPiece } from "./json-splitter.js";
import { firstWrong, jsonProblem } from "./json-place.js";
import { nonFiniteField } from "./json-non-finite.js";
import { readText, type Progress } from "./read-text.js";
import { columnsOf, type FileBatch, type SourceRow } from "./row.js";

/**
 * Reads a list of rows, at the top or below the file's only key that has one; one row a line; or rows one after the other. A
 * line that is not a row is a bad row. Elsewhere a bad place ends the reading with an error, because nothing after it can be
 * trusted; only a row with NaN or Infinity, whose end is certain, is a bad row, too.
 */
export async function* readJson(path: string, signal: AbortSignal, columns: readonly string[]): AsyncGenerator<FileBatch> {
  const splitter = new JsonSplitter(path, await shapeOf(path, signal, columns));
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const progress: Progress = { read: 0 };
  const batchOf = (pieces: readonly JsonPiece[]): FileBatch => {
    const rows = pieces.map((piece) => parse(piece, splitter.form === "lines", text, path));
    return { rows, ...columnsOf(rows), read: progress.read };
  };
  for await (const chunk of readText(path, signal, progress)) {
    const pieces = splitter.push(chunk);
    if (pieces.length > 0) yield batchOf(pieces);
  }
  yield batchOf(splitter.end());
}

async function shapeOf(path: string, signal: AbortSignal, columns: readonly string[]): Promise<JsonShape> {
  const format = formatOf(path);
  const probe = new JsonProbe(path, columns, format === ".jsonl" || format === ".ndjson");
  for await (const chunk of readText(path, signal)) {
    const shape = probe.push(chunk);
    if (shape !== null) return shape;
  }
  return probe.end();
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
    const nonFinite = nonFiniteField(text);
    if (nonFinite !== null)
      return {
        problem: `line ${piece.line}: ${nonFinite.field} is ${nonFinite.word}, which JSON does not have: write null or leave the field out`,
      };
    const message = error instanceof Error ? error.message : String(error);
    const at = firstWrong(text);
    const before = text.slice(0, at).split("\n");
    const line = piece.line + before.length - 1;
    const column = before.at(-1)!.length + 1 + (before.length === 1 ? piece.column : 0);
    if (lines) return { problem: `line ${line}, column ${column}: no JSON object on one line: ${jsonProblem(text, at) ?? message}` };
    throw new UserError("a data file is not JSON", { file, line, column, problem: jsonProblem(text, at) ?? message });
  }
}
