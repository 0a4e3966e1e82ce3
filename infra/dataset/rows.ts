import { existsSync, statSync } from "node:fs";
import { extname, join } from "node:path";
import { UserError } from "../../core/errors.js";
import { listFiles } from "../files.js";
import { readCsv } from "./csv.js";
import { readJson } from "./json.js";
import { readParquet } from "./parquet.js";
import type { RowBatch } from "./row.js";

type Reader = (path: string, signal: AbortSignal) => AsyncIterable<RowBatch>;

/** By a file name's ending; where a directory holds several kinds, the first kind here is taken. */
const READERS: Readonly<Record<string, Reader>> = { ".parquet": readParquet, ".jsonl": readJson, ".json": readJson, ".csv": readCsv };
const KINDS = Object.keys(READERS);

/** Reads a dataset's rows: of one file, or of a directory's data files in order of their names. Throws UserError naming the file. */
export async function* readRows(path: string, signal: AbortSignal): AsyncGenerator<RowBatch> {
  const files = await dataFiles(path);
  const sizes = files.map((file) => statSync(file).size);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  let before = 0;
  for (const [index, file] of files.entries()) {
    for await (const batch of READERS[kindOf(file)]!(file, signal)) {
      signal.throwIfAborted();
      yield { ...batch, read: (before + batch.read * sizes[index]!) / Math.max(1, total) };
    }
    before += sizes[index]!;
  }
}

/** The data files of a dataset, in byte order of their names; where some are named "train", only those. */
async function dataFiles(path: string): Promise<string[]> {
  if (!existsSync(path)) throw new UserError("the dataset is gone: run the download stage again", { path });
  if (!statSync(path).isDirectory()) {
    if (kindOf(path) in READERS) return [path];
    throw new UserError("a dataset must be a file of one of these kinds", { file: path, expected: KINDS.join(" ") });
  }
  const files = (await listFiles(path)).filter((name) => !/(^|\/)\./.test(name));
  for (const kind of KINDS) {
    const found = files.filter((name) => kindOf(name) === kind);
    const train = found.filter((name) => /(^|[^a-z])train([^a-z]|$)/i.test(name));
    if (found.length > 0) return (train.length > 0 ? train : found).map((name) => join(path, name));
  }
  throw new UserError("a dataset's directory holds no data file", {
    directory: path,
    expected: KINDS.join(" "),
    got: files.slice(0, 5).join(" ") || "no files",
  });
}

function kindOf(name: string): string {
  return extname(name).toLowerCase();
}
