import assert from "node:assert/strict";
import { test } from "node:test";
import { unreadableEnding, unreadableHead } from "../../../core/rows/unread-files.js";

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

test("a file is told by its first bytes as by its name, with a command that works under any name", () => {
  const xz = unreadableHead("\xfd7zXZ\0\0\x04")!;
  assert.deepEqual(xz, { what: "compressed with xz", advice: "unpack it with `xz -dc < FILE > NEW`" });
  assert.equal(unreadableEnding("rows.xz"), `rows.xz is ${xz.what}: unpack it with \`xz -d rows.xz\``);
  assert.equal(unreadableHead("\x5d\0\0\x80")!.advice, "unpack it with `xz -dc --format=lzma < FILE > NEW`");
  // Excel's files and NumPy's archives are zip archives: the name and the bytes say which
  for (const [inside, what] of [
    ["xl/workbook.xml", "an Excel workbook"],
    ["mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "a spreadsheet"],
    ["a.npy", "a NumPy file"],
    ["rows.json", "a zip archive"],
  ] as const)
    assert.equal(unreadableHead(`PK\x03\x04 ${inside}`)?.what, what);
  assert.equal(unreadableHead('{"a": 1}'), null);
});
