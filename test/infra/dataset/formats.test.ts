import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { fails, fieldsOf, madeFiles, readAll, referenceFile, zstdFrame } from "./made-files.js";

const file = madeFiles();

const ROWS = [
  { instruction: "\uFEFFmark é\u2028", input: "", output: 'say "hi",\nor not; a\tb | c' },
  { instruction: "日本 🐑", input: "null", output: "x".repeat(300_000) },
  ...Array.from({ length: 3000 }, (_, row) => ({ instruction: `question ${row}`, input: "", output: `${row}`.repeat(row % 40) })),
];

function table(delimiter: string, end = "\n"): string {
  const quoted = (field: string): string => (/[",;|\t\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);
  return [Object.keys(ROWS[0]!), ...ROWS.map((row) => Object.values(row))].map((row) => row.map(quoted).join(delimiter) + end).join("");
}

const LINES = ROWS.map((row) => `${JSON.stringify(row)}\n`).join("");
const TEXTS: readonly (readonly [name: string, text: string])[] = [
  ["lines.jsonl", LINES],
  ["lines.ndjson", LINES],
  ["lines.json", LINES],
  ["list.json", JSON.stringify(ROWS)],
  ["list.jsonl", JSON.stringify(ROWS)],
  ["pretty.json", JSON.stringify(ROWS, null, 2)],
  ["objects.json", ROWS.map((row) => JSON.stringify(row, null, 2)).join("\n")],
  ["objects.jsonl", ROWS.map((row) => JSON.stringify(row, null, "\t")).join("")],
  ["joined.json", ROWS.map((row) => JSON.stringify(row)).join("")],
  ["below.json", JSON.stringify({ version: "1.0", data: ROWS, end: { of: ["it"] } })],
  ["below.jsonl", `${JSON.stringify({ rows: ROWS })}\n`],
  ["below-pretty.json", JSON.stringify({ info: [1, 2], ROWS }, null, 1)],
  ["comma.csv", table(",")],
  ["comma.CSV", table(",", "\r\n")],
  ["semicolon.csv", `\uFEFF${table(";", "\r\n")}`],
  ["tab.csv", table("\t")],
  ["bar.csv", table("|")],
  ["tab.tsv", table("\t")],
  ["comma.tsv", table(",")],
  ["excel.csv", `sep=;\r\n${table(";", "\r\n")}`],
];
const half = (bytes: Buffer): [Buffer, Buffer] => [bytes.subarray(0, bytes.length / 2), bytes.subarray(bytes.length / 2)];
const COMPRESSIONS: readonly (readonly [ending: string, pack: (text: Buffer) => Uint8Array])[] = [
  ["", (text) => text],
  [".gz", (text) => gzipSync(text)],
  [".GZ", (text) => Buffer.concat(half(text).map((part) => gzipSync(part)))],
  [".zst", zstdFrame],
  [".zstd", (text) => Buffer.concat([...half(text).map((part) => zstdFrame(part)), zstdFrame(Buffer.alloc(0))])],
];

for (const [name, text] of TEXTS)
  test(`${name} gives the same rows in each compression, under its own name and a plain one`, async () => {
    for (const [ending, pack] of COMPRESSIONS) {
      const bytes = pack(Buffer.from(text));
      assert.deepEqual(await fieldsOf(file(name + ending, bytes)), ROWS, ending);
      assert.deepEqual(await fieldsOf(file(name, bytes)), ROWS, `${ending} under a plain name`);
    }
    // a file that its server compressed once more
    assert.deepEqual(await fieldsOf(file(`${name}.gz`, zstdFrame(gzipSync(text)))), ROWS);
  });

test("a compressed name with plain content is read", async () => {
  assert.deepEqual(await fieldsOf(file("plain.jsonl.gz", LINES)), ROWS);
});

test("frames of the zstd command: a checksum, a wide window, an empty frame, a skippable one", async () => {
  const path = referenceFile("rows/frames.jsonl.zst");
  const rows = await fieldsOf(path);
  assert.equal(rows.length, 4000);
  for (const [number, row] of rows.entries())
    assert.deepEqual(row, { instruction: `question ${number % 7}`, output: "answer ".repeat(number % 40) });
  const skippable = Buffer.from([0x55, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5]);
  assert.deepEqual(await fieldsOf(file("skip.jsonl.zst", Buffer.concat([skippable, readFileSync(path), skippable]))), rows);
});

const EXPECTED = JSON.parse(readFileSync(referenceFile("rows/expected.json"), "utf8")) as Record<string, unknown>[];
const EVERY = Object.keys(EXPECTED[0]!);

for (const name of [
  "saved.arrow",
  "batches.arrow",
  "stream-zstd.arrow",
  "feather.arrow",
  "feather-lz4.arrow",
  "words.arrow",
  "nested.parquet",
  "nested-pages.parquet",
])
  test(`${name} gives the rows that Python reads, conversations and lists of numbers among them, under any name`, async () => {
    const path = referenceFile(`rows/${name}`);
    assert.deepEqual(await fieldsOf(path, EVERY), EXPECTED);
    assert.deepEqual(await fieldsOf(file(`${name}.json`, readFileSync(path)), EVERY), EXPECTED);
    const { rows, columns, filled } = await readAll(path, ["output", "other"]);
    assert.deepEqual(
      rows,
      EXPECTED.map(({ output }) => ({ fields: { output } })),
    );
    assert.deepEqual(columns, EVERY);
    assert.deepEqual(filled.toSorted(), EVERY.toSorted());
  });

const WITH_CONTENT = ["instruction", "output", "late", "early", "zero", "one_number", "false", "turns", "date", "long", "system"];

for (const name of ["contents.parquet", "contents-no-statistics.parquet", "contents.arrow"])
  test(`${name}: columns with content are named, read or not`, async () => {
    const path = referenceFile(`rows/${name}`);
    const some = await readAll(path, ["instruction", "output"]);
    assert.deepEqual(some.filled.toSorted(), WITH_CONTENT.toSorted());
    const all = await readAll(path, some.columns);
    assert.deepEqual(all.filled.toSorted(), WITH_CONTENT.toSorted());
    assert.equal(some.columns.length, 18);
  });

test("of JSON and CSV, too, every column is named, and those with content", async () => {
  const rows = Array.from({ length: 200 }, (_, row) => ({
    instruction: "a",
    output: "b",
    blank: " ",
    nothing: null,
    history: row === 3 ? [["", ""]] : [],
    ...(row === 190 ? { late: 0, hollow: { a: [null] } } : {}),
  }));
  const json = await readAll(file("columns.json", JSON.stringify(rows)));
  assert.deepEqual(json.columns, ["instruction", "output", "blank", "nothing", "history", "late", "hollow"]);
  assert.deepEqual(json.filled, ["instruction", "output", "late"]);
  const csv = await readAll(file("columns.csv", "instruction,output,blank,note,note\na,b, ,,\na,b,,first,\n"));
  assert.deepEqual(csv.columns, ["instruction", "output", "blank", "note"]);
  assert.deepEqual(csv.filled, ["instruction", "output", "note"]);
});

test("reading that stops early leaves nothing behind", async () => {
  for (const bytes of [gzipSync(LINES), zstdFrame(Buffer.from(LINES)), Buffer.from(LINES)]) await fieldsOf(file("left.jsonl", bytes));
  await fieldsOf(referenceFile("rows/saved.arrow"));
  await fails(file("left.csv", zstdFrame(gzipSync("PAR1 and so on"))), ["a Parquet file inside gzip"]);
  assert.deepEqual(
    process.getActiveResourcesInfo().filter((name) => ["MessagePort", "Zlib", "FSReqPromise", "FILEHANDLE", "Worker"].includes(name)),
    [],
  );
});
