import assert from "node:assert/strict";
import { readFileSync, symlinkSync } from "node:fs";
import { basename, dirname } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { deflateSync, gzipSync } from "node:zlib";
import { localFiles } from "../../../activities/download/source-plan.js";
import { archive } from "../../core/format/archive.js";
import { fails, fieldsOf, madeFiles, readAll, referenceFile, zstdFrame } from "./made-files.js";

const file = madeFiles();
/** The directory of a file, as a source. */
const sourceOf = (path: string): string => pathToFileURL(dirname(path)).href;
const bytes = (text: string): Buffer => Buffer.concat([Buffer.from(text, "latin1"), Buffer.alloc(600, "~")]);
const tar = Buffer.alloc(1024);
tar.write("rows.json");
tar.write("ustar", 257);
const noise = Buffer.from(Array.from({ length: 500 }, (_, at) => (at * at * 31 + at * 7) % 256));

const KINDS: readonly (readonly [what: string, content: Buffer, words: readonly string[]])[] = [
  ["xz", bytes("\xfd7zXZ\0\0\x04"), ["compressed with xz", "`xz -dc < "]],
  ["bzip2", bytes("BZh91AY&SY"), ["compressed with bzip2", "`bzip2 -dc < "]],
  ["lzma", bytes("\x5d\0\0\x80\0"), ["compressed with lzma"]],
  ["lz4", bytes("\x04\x22\x4d\x18"), ["compressed with lz4", "`lz4 -dc < "]],
  ["compress", bytes("\x1f\x9d\x90"), ["compressed with compress"]],
  ["zlib", deflateSync(noise), ["compressed with zlib"]],
  ["a zip archive", archive([["rows.json", Buffer.from("[]")]]), ["a zip archive", "`unzip "]],
  [
    "an Excel workbook",
    archive([
      ["[Content_Types].xml", Buffer.from("<a/>")],
      ["xl/workbook.xml", Buffer.from("<a/>")],
    ]),
    ["an Excel workbook", "save it as CSV"],
  ],
  ["an old Excel workbook", bytes("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), ["an old Excel workbook"]],
  ["a 7-Zip archive", bytes("7z\xbc\xaf\x27\x1c"), ["a 7-Zip archive", "`7z x "]],
  ["a rar archive", bytes("Rar!\x1a\x07\x01\0"), ["a rar archive"]],
  ["a tar archive", tar, ["a tar archive", "`tar -xf "]],
  ["a compressed tar archive", gzipSync(tar), ["a tar archive", "`tar -xf ", "inside=gzip"]],
  ["a database", bytes("SQLite format 3\0"), ["an SQLite database"]],
  ["a pickle", bytes("\x80\x04\x95\x10\0\0\0\0\0\0\0]\x94"), ["a Python pickle"]],
  ["a NumPy file", bytes("\x93NUMPY\x01\0"), ["a NumPy file"]],
  ["HDF5", bytes("\x89HDF\r\n\x1a\n"), ["an HDF5 file"]],
  ["a web page", Buffer.from("\n<!DOCTYPE html>\n<html><body>Please log in</body></html>"), ["a web page, not data", "log"]],
  ["a compressed web page", gzipSync("<html><head><title>404</title></head></html>"), ["a web page, not data"]],
  ["an error of S3", Buffer.from('<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code></Error>'), ["an XML document"]],
  ["Parquet inside gzip", gzipSync(readFileSync(referenceFile("rows.parquet"))), ["a Parquet file inside gzip", "unpack it"]],
  ["Arrow inside zstd", zstdFrame(readFileSync(referenceFile("rows/saved.arrow"))), ["an Arrow file inside zstd", "unpack it"]],
  ["other bytes", noise, ["not text", "brotli"]],
  [
    "a Git LFS pointer",
    Buffer.from(`version https://git-lfs.github.com/spec/v1\noid sha256:${"a".repeat(64)}\nsize 12345\n`),
    ["a Git LFS pointer", "git lfs pull"],
  ],
  ["UTF-16", Buffer.from("\uFEFF日本,語\n", "utf16le"), ["UTF-16", "save it as UTF-8"]],
  ["UTF-16 without a mark", Buffer.from('{"instruction": "日本語の文です", "output": "語"}', "utf16le"), ["UTF-16", "save it as UTF-8"]],
  ["UTF-32", Buffer.from([..."[{}]"].flatMap((letter) => [0, 0, 0, letter.charCodeAt(0)])), ["UTF-32", "save it as UTF-8"]],
  ["compressed again and again", [0, 1, 2, 3].reduce<Buffer>((inner) => gzipSync(inner), Buffer.from("{}")), ["again and again"]],
];
for (const [what, content, words] of KINDS)
  test(`${what} is told by its content, under any name`, async () => {
    for (const name of ["rows.json", "rows.jsonl", "rows.csv", "rows.tsv.gz", "rows.ndjson.zst"])
      await fails(file(name, content), [name, ...words]);
  });

test("a file that is called Parquet or Arrow and is not is told so", async () => {
  for (const ending of ["parquet", "arrow"]) {
    const what = ending === "parquet" ? "a whole Parquet file" : "a whole Arrow file";
    await fails(file(`text.${ending}`, '{"a": 1}'), [`text.${ending}`, what, "got=text"]);
    await fails(file(`empty.${ending}`, ""), [what, "an empty file"]);
    await fails(file(`packed.${ending}`, gzipSync("x")), [what, "gzip -d"]);
    await fails(file(`page.${ending}`, "<html></html>"), ["a web page"]);
  }
});

test("the name of a file that is not read says what to do, alone and in a directory", async () => {
  await fails(file("alone/rows.jsonl.xz", "x"), ["rows.jsonl.xz is compressed with xz", "`xz -d rows.jsonl.xz`", ".parquet .jsonl"]);
  await assert.rejects(localFiles("dataset", sourceOf(file("packed/rows.jsonl.xz", "x"))), (error: Error) =>
    ["needs a data file", "rows.jsonl.xz is compressed with xz", "`xz -d rows.jsonl.xz`"].every((part) => error.message.includes(part)),
  );
  await fails(file("rows.parquet.gz", "x"), ["compressed with gzip", "gzip -d"]);
});

test("of a file and its compressed copy the file is taken", async () => {
  const plain = file("copies/rows.jsonl", "{}");
  assert.deepEqual(await localFiles("dataset", sourceOf(file("copies/rows.jsonl.gz", gzipSync("{}")))), [plain]);
});

test("a directory of save_to_disk is read; a selection that an early version kept beside its rows is refused", async () => {
  const arrow = readFileSync(referenceFile("rows/saved.arrow"));
  const files = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"].map((name) => file(`saved/${name}`, arrow));
  file("saved/dataset_info.json", "{}");
  const state = (more: object): string => JSON.stringify({ _data_files: files.map((path) => ({ filename: basename(path) })), ...more });
  const source = sourceOf(file("saved/state.json", state({ _indices_data_files: null })));
  assert.deepEqual(await localFiles("dataset", source), files);
  for (const path of files) assert.equal((await fieldsOf(path)).length, 4);
  file("saved/state.json", state({ _indices_data_files: [{ filename: "indices.arrow" }] }));
  await assert.rejects(localFiles("dataset", source), /picks its rows by a file of indices/);
});

test("a message names the user's own file, not the link that a download made of it", async () => {
  const real = file("own/rows.jsonl", bytes("\xfd7zXZ\0\0\x04"));
  const place = file("view/other.txt", "").replace(/\/[^/]*$/, "");
  symlinkSync(real, `${place}/rows.jsonl`);
  await fails(place, [`\`xz -dc < ${real} > NEW\``, `file=${real}`]);
});

const LINES = Buffer.from(
  Array.from({ length: 900 }, (_, row) => `{"instruction": "question ${row}", "output": "${"answer ".repeat(row % 9)}"}\n`).join(""),
);
const PACKED: readonly (readonly [name: string, packed: Buffer])[] = [
  ["rows.jsonl.gz", gzipSync(LINES)],
  ["members.json", Buffer.concat([gzipSync(LINES.subarray(0, 5000)), gzipSync(LINES.subarray(5000))])],
  ["rows.jsonl.zst", readFileSync(referenceFile("rows/frames.jsonl.zst"))],
  ["one-frame.jsonl.zst", zstdFrame(LINES)],
];
for (const [name, packed] of PACKED) {
  test(`${name}, cut anywhere, is one error that names the file`, async () => {
    const whole = await fieldsOf(file(name, packed));
    const step = Math.ceil(packed.length / 20);
    for (let end = 20; end < packed.length; end += end > packed.length - 6 ? 1 : step) {
      try {
        const rows = await fieldsOf(file(name, packed.subarray(0, end)));
        // where a member or a frame ends, the rest is not missed
        assert.ok(/members|^rows.jsonl.zst/.test(name) && rows.length < whole.length, `${end}`);
      } catch (error) {
        assert.match((error as Error).message, /data is cut.*file=/, `${end}`);
      }
    }
    await fails(
      file(name, Buffer.concat([packed, Buffer.from("and more")])),
      [name, "data is damaged", "after its end"].slice(0, name.endsWith(".zst") ? 3 : 2),
    );
  });
  // the frame made here has no checksum, so a change is not seen
  if (!name.startsWith("one-frame"))
    test(`${name} with one bit changed is one error that names the file, or the same rows`, async () => {
      const whole = await fieldsOf(file(name, packed));
      let refused = 0;
      for (let at = 0; at < packed.length; at += Math.ceil(packed.length / 30)) {
        const changed = Buffer.from(packed);
        changed[at]! ^= 1 << (at % 8);
        try {
          assert.deepEqual((await readAll(file(name, changed))).rows.length, whole.length);
        } catch (error) {
          assert.equal((error as Error).name, "UserError", (error as Error).stack);
          assert.ok((error as Error).message.includes(name));
          refused++;
        }
      }
      assert.ok(refused > 15, `${refused}`);
    });
}

test("zeros after gzip data are no data; what follows them is", async () => {
  const whole = gzipSync('{"a": 1}');
  assert.deepEqual(await fieldsOf(file("padded.json.gz", Buffer.concat([whole, Buffer.alloc(700_000)]))), [{ a: 1 }]);
  await fails(file("padded.json.gz", Buffer.concat([whole, Buffer.alloc(700_000), whole])), ["gzip data is damaged", "after its end"]);
  await fails(file("padded.json.gz", Buffer.concat([whole, Buffer.alloc(20), whole])), ["gzip data is damaged", "after its end"]);
});

test("much text in little compressed data does not fill memory", { timeout: 120_000 }, async () => {
  const part = gzipSync(Buffer.alloc(8 << 20, "x"));
  const row = Buffer.concat([gzipSync('{"a": "'), ...Array.from({ length: 32 }, () => part)]);
  await fails(file("bomb.jsonl.gz", row), ["has no end", "more than 67.1 MB"]);
  // a frame of repeated blocks: 128 KB in 4 bytes each
  const block = Buffer.from([0x02, 0x00, 0x10, 0x78]);
  const frame = Buffer.concat([
    Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0x58]),
    ...Array.from({ length: 2000 }, () => block),
    Buffer.from([0x03, 0x00, 0x10, 0x78]),
  ]);
  const before = process.memoryUsage().rss;
  await fails(file("bomb.jsonl.zst", Buffer.concat([zstdFrame(Buffer.from('{"a": "')), frame])), ["has no end", "more than 67.1 MB"]);
  assert.ok(process.memoryUsage().rss - before < 600 << 20, `${process.memoryUsage().rss - before}`);
});

for (const name of ["rows/saved.arrow", "rows/feather-lz4.arrow", "rows/nested.parquet"])
  test(
    `${name}, damaged or cut, is refused or has as many rows, and nothing is left to end the process later`,
    { timeout: 300_000 },
    async () => {
      const whole = readFileSync(referenceFile(name));
      const ending = name.endsWith(".arrow") ? ".arrow" : ".parquet";
      const columns = Object.keys((JSON.parse(readFileSync(referenceFile("rows/expected.json"), "utf8")) as object[])[0]!);
      let refused = 0;
      const read = async (content: Buffer): Promise<void> => {
        await readAll(file(`damaged${ending}`, content), columns).catch((error: unknown) => {
          assert.equal((error as Error).name, "UserError", (error as Error).stack);
          refused++;
        });
      };
      // a thread is started for each
      for (let at = 0; at < whole.length; at += Math.ceil(whole.length / 18)) {
        const changed = Buffer.from(whole);
        changed[at]! ^= 1 << (at % 8);
        await read(changed);
      }
      refused = 0;
      const cuts = Array.from({ length: 6 }, (_, at) => Math.floor((whole.length * at) / 6));
      for (const end of cuts) await read(whole.subarray(0, end));
      assert.equal(refused, cuts.length);
    },
  );
