import { closeSync, existsSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { DATA_FORMATS, formatOf, type DataFormat } from "../../core/rows/data-format.js";
import { unreadableEnding } from "../../core/rows/unread-files.js";
import { UserError } from "../../core/errors.js";
import { listFiles } from "../disk/files.js";
import { readArrow } from "./arrow.js";
import { contentOf, HEAD_BYTES, refuseUnreadable, type Content } from "./content.js";
import { readCsv } from "./csv.js";
import { readJson } from "./json.js";
import { readParquet } from "./parquet.js";
import type { FileBatch, RowBatch } from "./row.js";

type Reader = (path: string, signal: AbortSignal, columns: readonly string[]) => AsyncIterable<FileBatch>;

const READERS: Readonly<Record<DataFormat, Reader>> = {
  ".parquet": readParquet,
  ".arrow": readArrow,
  ".jsonl": readJson,
  ".ndjson": readJson,
  ".json": readJson,
  ".csv": readCsv,
  ".tsv": readCsv,
};

/**
 * Reads a dataset's rows, from one file or from a directory's data files in the order of their names. Rows have at least those
 * of `columns` that their file has. Throws UserError with the file's name.
 */
export async function* readRows(path: string, signal: AbortSignal, columns: readonly string[]): AsyncGenerator<RowBatch> {
  const files = await dataFiles(path);
  const sizes = files.map((file) => statSync(file).size);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  let before = 0;
  for (const [index, file] of files.entries()) {
    const named = sourceOf(file);
    for await (const batch of readerOf(named)(named, signal, columns)) {
      signal.throwIfAborted();
      yield { ...batch, file: relative(path, file) || basename(file), read: (before + batch.read * sizes[index]!) / Math.max(1, total) };
    }
    before += sizes[index]!;
  }
}

/** The file that a link of a download leads to, so that messages name the user's own; the link itself if the file has another name, as in a cache. */
function sourceOf(file: string): string {
  const real = realpathSync(file);
  return basename(real) === basename(file) ? real : file;
}

/** What reads a file: its content decides about Parquet and Arrow, its name about text. Throws UserError if the content is neither. */
function readerOf(file: string): Reader {
  const head = headOf(file);
  const content = contentOf(head);
  if (content.kind === "parquet") return readParquet;
  if (content.kind === "arrow") return readArrow;
  refuseUnreadable(content, head, file);
  const format = formatOf(file)!;
  if (format !== ".parquet" && format !== ".arrow") return READERS[format];
  const expected = format === ".parquet" ? "a whole Parquet file" : "a whole Arrow file";
  throw new UserError(`a data file is not ${expected}`, { file, got: head.length === 0 ? "an empty file" : WORDS[content.kind] });
}

const WORDS: Readonly<Record<Content["kind"], string>> = {
  text: "text",
  gzip: "gzip data: unpack it with `gzip -d`",
  zstd: "zstd data: unpack it with `zstd -d`",
  parquet: "Parquet",
  arrow: "Arrow",
  unreadable: "",
};

function headOf(file: string): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  const descriptor = openSync(file, "r");
  try {
    return head.subarray(0, readSync(descriptor, head, 0, HEAD_BYTES, 0));
  } finally {
    closeSync(descriptor);
  }
}

/** The data files of a dataset, in byte order of their names. */
async function dataFiles(path: string): Promise<string[]> {
  if (!existsSync(path)) throw new UserError("the dataset is gone: run the download stage again", { path });
  if (!statSync(path).isDirectory()) {
    if (formatOf(path) !== null) return [path];
    throw new UserError("a dataset must be a file of one of these kinds", {
      file: path,
      expected: DATA_FORMATS,
      got: unreadableEnding(basename(path)) ?? undefined,
    });
  }
  // a download's directory holds what was selected, and nothing else
  const files = (await listFiles(path)).filter((name) => formatOf(name) !== null);
  if (files.length === 0) throw new UserError("a dataset needs a data file", { source: path, expected: DATA_FORMATS, got: "no files" });
  return files.map((name) => join(path, name));
}
