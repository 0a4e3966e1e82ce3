import assert from "node:assert/strict";
import { test } from "node:test";
import { formatOf, uncompressedName } from "../../../core/rows/data-format.js";

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
