import assert from "node:assert/strict";
import { test } from "node:test";
import { formatOf, uncompressedName, unreadableEnding } from "../../../core/rows/data-format.js";

const FORMATS: readonly (readonly [path: string, format: string | null])[] = [
  ["a.parquet", ".parquet"],
  ["a.JSONL", ".jsonl"],
  ["d/a.ndjson", ".ndjson"],
  ["a.json", ".json"],
  ["a.b.csv", ".csv"],
  ["a.tsv", ".tsv"],
  ["data-00000-of-00001.arrow", ".arrow"],
  ["a.jsonl.gz", ".jsonl"],
  ["a.json.zst", ".json"],
  ["a.csv.ZSTD", ".csv"],
  ["a.tsv.gz", ".tsv"],
  ["a.parquet.gz", null],
  ["a.arrow.zst", null],
  ["a.json.xz", null],
  ["json", null],
  ["a.gz", null],
  ["README.md", null],
];
for (const [path, format] of FORMATS) test(`the format of ${path} is ${format}`, () => assert.equal(formatOf(path), format));

test("a name without its compression", () => {
  assert.equal(uncompressedName("d/rows.json.gz"), "d/rows.json");
  assert.equal(uncompressedName("rows.json"), "rows.json");
});

const UNREADABLE: readonly (readonly [path: string, words: string | null])[] = [
  ["rows.jsonl.xz", "rows.jsonl.xz is compressed with xz: unpack it with `xz -d rows.jsonl.xz`"],
  ["rows.json.bz2", "rows.json.bz2 is compressed with bzip2: unpack it with `bzip2 -d rows.json.bz2`"],
  ["rows.json.br", "rows.json.br is compressed with brotli: unpack it with `brotli -d rows.json.br`"],
  ["d/rows.tar.gz", "d/rows.tar.gz is a tar archive: unpack it with `tar -xf d/rows.tar.gz`"],
  ["rows.tgz", "rows.tgz is a tar archive: unpack it with `tar -xf rows.tgz`"],
  ["rows.zip", "rows.zip is a zip archive: unpack it with `unzip rows.zip`"],
  ["rows.parquet.gz", "rows.parquet.gz is compressed with gzip: unpack it with `gzip -d rows.parquet.gz`"],
  ["rows.xlsx", "rows.xlsx is a spreadsheet: save it as CSV"],
  ["rows.feather", "rows.feather is an Arrow file under another name: give it the ending .arrow"],
  ["rows.jsonl", null],
  ["rows.jsonl.gz", null],
  ["README.md", null],
];
for (const [path, words] of UNREADABLE) test(`${path}: ${words ?? "nothing to say"}`, () => assert.equal(unreadableEnding(path), words));
