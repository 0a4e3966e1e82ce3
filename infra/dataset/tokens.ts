import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { TokenRow, TokenSplit } from "../../core/rows/token-rows.js";
import { CorruptError, UserError } from "../../core/errors.js";
import { decodeChunk } from "../../core/format/token-chunk.js";
import { parseTokenIndex, TOKEN_INDEX, type TokenIndex } from "../../core/format/token-shards.js";
import { sha256 } from "../disk/files.js";

/** A tokenized dataset, loaded. */
export interface Tokens {
  readonly train: TokenSplit;
  readonly test: TokenSplit;
  readonly index: TokenIndex;
}

/** Loads a directory of the preprocess stage, every file checked against its digest. Throws CorruptError with the name of a file that is wrong. */
export async function openTokens(directory: string): Promise<Tokens> {
  const index = readTokenIndex(directory);
  const rows: TokenRow[] = [];
  for (const chunk of index.chunks) {
    for (const row of readChunk(join(directory, chunk.file), chunk)) rows.push(row);
    // a million rows take seconds, in which heartbeats are due
    await setImmediate();
  }
  const test = new Set(index.test);
  return {
    train: split(rows.filter((_, row) => !test.has(row))),
    test: split(rows.filter((_, row) => test.has(row))),
    index,
  };
}

/** The index of a directory of the preprocess stage. Throws UserError where there is none, and CorruptError where it is damaged. */
export function readTokenIndex(directory: string): TokenIndex {
  const path = join(directory, TOKEN_INDEX);
  if (!existsSync(path))
    throw new UserError("this is not a tokenized dataset: run the preprocess stage first", { directory, missing: TOKEN_INDEX });
  return parseTokenIndex(readFileSync(path, "utf8"), path);
}

/** The rows of one chunk file, checked against its digest. */
function readChunk(path: string, expected: { readonly sha256: string; readonly rows: number }): TokenRow[] {
  if (!existsSync(path)) throw new CorruptError("a tokenized dataset's file is missing: run the preprocess stage again", { file: path });
  const file = readFileSync(path);
  const got = sha256(file);
  if (got !== expected.sha256)
    throw new CorruptError("a tokenized dataset's file has changed since it was written: run the preprocess stage again", {
      file: path,
      expected: expected.sha256,
      got,
    });
  return decodeChunk(file, path);
}

function split(rows: readonly TokenRow[]): TokenSplit {
  return { count: rows.length, row: (index) => rows[index]! };
}
