import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Worker } from "node:worker_threads";
import { messageOf, UserError } from "../../../core/errors.js";
import { COLUMNS } from "../../../core/rows/row-rules.js";
import { readRows } from "../../../infra/dataset/rows.js";
import { JsonSplitter } from "../../../infra/dataset/json-splitter.js";
import type { SourceRow } from "../../../infra/dataset/row.js";

const directory = mkdtempSync(join(tmpdir(), "roslin-rows-"));
after(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  writeFileSync(join(directory, name), content);
  return join(directory, name);
}

async function rowsOf(path: string): Promise<SourceRow[]> {
  const rows: SourceRow[] = [];
  let read = 0;
  for await (const batch of readRows(path, new AbortController().signal, COLUMNS)) {
    rows.push(...batch.rows);
    read = batch.read;
  }
  assert.equal(read, 1);
  return rows;
}

const fails = (path: string, ...words: string[]): Promise<void> =>
  assert.rejects(rowsOf(path), (error: Error) => {
    assert.ok(error instanceof UserError, error.stack);
    for (const word of words) assert.ok(messageOf(error).includes(word), `${messageOf(error)} lacks ${word}`);
    return true;
  });

const tricky = [
  { instruction: 'Say "[}],{" \\', input: "", output: "é\u2028日本 🙂\n" },
  { instruction: "\uFEFFmark", input: "a,b", output: "", extra: { deep: [1, [2, { a: "]" }]] } },
  { instruction: "", input: null, output: "x" },
];
const expected = tricky.map((fields) => ({ fields }));

test("an array, lines, and lines in a .json file give the same rows", async () => {
  assert.deepEqual(await rowsOf(file("a.json", JSON.stringify(tricky, null, 2))), expected);
  assert.deepEqual(await rowsOf(file("mark.json", `\uFEFF${JSON.stringify(tricky)}\n`)), expected);
  const lines = tricky.map((row) => JSON.stringify(row)).join("\r\n\n");
  assert.deepEqual(await rowsOf(file("a.jsonl", lines)), expected);
  assert.deepEqual(await rowsOf(file("lines.json", `${lines}\n`)), expected);
  assert.deepEqual(await rowsOf(file("none.json", " [ ] ")), []);
});

test("wherever the stream is cut, the rows are the same", () => {
  for (const text of [JSON.stringify(tricky, null, 1), tricky.map((row) => JSON.stringify(row)).join("\n")]) {
    const bytes = Buffer.from(text);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const splitter = new JsonSplitter("f");
      const pieces = [...splitter.push(bytes.subarray(0, cut)), ...splitter.push(bytes.subarray(cut)), ...splitter.end()];
      assert.deepEqual(
        pieces.map((piece) => JSON.parse(Buffer.from(piece.bytes).toString()) as unknown),
        tricky,
      );
    }
  }
});

test("malformed JSON in an array names line and column", async () => {
  await fails(file("b.json", '[\n {"a": 1},\n {"a": 2,, "b": 3}\n]'), "b.json", "line=3", "column=10");
  await fails(file("quote.json", '[{"a": "open},\n{"a": "b"}]'), "line=1", "column=15");
  await fails(file("comma.json", '[{"a": 1},]'), "line=1");
  await fails(file("cut.json", '[{"a": 1}, {"a": 2'), "line=1");
  await fails(file("unclosed.json", '[{"a": 1},\n{"a": 2}\n'), "ends inside its array", "line=3");
  await fails(file("tail.json", '[{"a": 1}]\n]'), "line=2", "nothing after the array");
  await fails(file("html.json", "<html>"), "html.json", "a web page, not data");
  await fails(file("words.json", "words"), "words.json", "array of rows", '"w"');
  await fails(file("empty.jsonl", ""), "empty");
  await fails(file("latin.json", Buffer.from('[{"a": "caf\xe9"}]', "latin1")), "latin.json", "line=1", "not UTF-8");
});

test("a line that is no row is a bad row, and the others are read", async () => {
  const rows = await rowsOf(file("bad.jsonl", '{"a": 1}\n{"a": \n[1, 2]\n"x"\n{"a": 2}'));
  assert.deepEqual(rows[0], { fields: { a: 1 } });
  assert.match((rows[1] as { problem: string }).problem, /^line 2, column 7: no JSON object on one line/);
  assert.equal((rows[2] as { problem: string }).problem, "line 3: expected an object, got [1, 2]");
  assert.match((rows[3] as { problem: string }).problem, /^line 4: expected an object/);
  assert.deepEqual(rows[4], { fields: { a: 2 } });
});

test("CSV: quotes, line breaks in fields, a byte order mark, rows of the wrong width", async () => {
  const text = '\uFEFFinstruction,input,output\r\n"Say ""hi"", twice",,"two\nlines"\r\n\r\nshort,row\r\né,日本,🙂\r\n';
  assert.deepEqual(await rowsOf(file("a.csv", text)), [
    { fields: { instruction: 'Say "hi", twice', input: "", output: "two\nlines" } },
    { problem: "the row that ends in line 5 has 2 fields, the header has 3" },
    { fields: { instruction: "é", input: "日本", output: "🙂" } },
  ]);
  await fails(file("quote.csv", 'a,b\n1,"open\n2,3\n'), "quote.csv", "is a quote missing");
  await fails(file("latin.csv", Buffer.from("a,b\n1,caf\xe9\n", "latin1")), "latin.csv", "not UTF-8", "line=2");
  await fails(file("empty.csv", ""), "empty");
  await fails(file("twice.csv", "output,instruction,output\na,b,c\n"), "two columns with the same name", "column=output");
  assert.deepEqual(await rowsOf(file("header.csv", "instruction,input,output\n")), []);
});

test("CSV: lines are counted as editors count them, whatever ends them and however many are inside quotes", async () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const lines = ["a,b", '1,"two', "", 'lines"', "", "", "short", '"three', "whole", 'lines",x', "short"];
    const rows = await rowsOf(file("lines.csv", [...lines, ""].join(end)));
    assert.deepEqual(
      rows.flatMap((row) => ("problem" in row ? [row.problem] : [])),
      ["the row that ends in line 7 has 1 fields, the header has 2", "the row that ends in line 11 has 1 fields, the header has 2"],
    );
    for (const empty of [[], [""], ["", ""]])
      await fails(
        file("open.csv", [...lines, ...empty, '7,"open', "8,9", "10,11", ""].join(end)),
        `a quote missing in the row that begins in line ${12 + empty.length}?`,
      );
  }
  const mixed = 'sep=;\r\na;b\n1;"x\r\ny"\r\n\r\n\nshort\n"open\r\n';
  await fails(file("mixed.csv", mixed), "a quote missing in the row that begins in line 8?");
});

test("CSV: a quote inside a field is a character, whatever ends the lines", async () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const lines = ["a,b", 'say "hi",1', '"x"y,2', '"",', "", '"z" ,3', '"last ""one""","a', 'b"'];
    assert.deepEqual(await rowsOf(file("stray.csv", lines.join(end))), [
      { fields: { a: 'say "hi"', b: "1" } },
      { fields: { a: '"x"y', b: "2" } },
      { fields: { a: "", b: "" } },
      { fields: { a: '"z" ', b: "3" } },
      { fields: { a: 'last "one"', b: `a${end}b` } },
    ]);
  }
});

test("CSV: a field that begins with a quote and is joined with later lines is a bad row that says so", async () => {
  for (const end of ["\n", "\r\n"]) {
    const lines = [
      "instruction\toutput",
      '"Hello he said\tyes',
      '"Goodbye she said\tno',
      '"""Hi"""\t"of',
      'two ""lines"""',
      '"""a',
      'b"\tc',
    ];
    const rows = await rowsOf(file("quotes.tsv", lines.join(end)));
    assert.match((rows[0] as { problem: string }).problem, /ends in line \d goes over several lines, because a field begins with a quote/);
    assert.deepEqual(rows.slice(1), [
      { fields: { instruction: '"Hi"', output: `of${end}two "lines"` } },
      { fields: { instruction: `"a${end}b`, output: "c" } },
    ]);
  }
});

test("CSV: lines that end in different ways, wherever the stream is cut", async () => {
  const rows = [
    { fields: { instruction: "a", output: "b" } },
    { fields: { instruction: "c", output: 'd\r\n"e"' } },
    { fields: { instruction: "f", output: "g" } },
  ];
  const ends = ["\n", "\r\n", "\r"];
  for (const first of ends)
    for (const others of ends) {
      const lines = ["instruction,output", 'a,"b"', 'c,"d\r\n""e"""', "f,g", ""];
      assert.deepEqual(await rowsOf(file("ends.csv", lines.join(others).replace(others, first))), rows);
    }
  // a stream brings 256 KiB at a time
  const half = `instruction,output\n${"a".repeat(2 ** 18 - 22)},b`;
  assert.deepEqual(await rowsOf(file("cut.csv", `${half}\r\n"c",d\r\n`)), await rowsOf(file("whole.csv", `${half}\n"c",d\n`)));
});

test("a file in another encoding is told so", async () => {
  for (const [name, text] of [
    ["wide.csv", "instruction,output\na,b\n"],
    ["wide.json", '[{"instruction": "a"}]'],
    ["wide.jsonl", '{"instruction": "a"}'],
  ] as const)
    for (const mark of ["", "\uFEFF"]) await fails(file(name, Buffer.from(mark + text, "utf16le")), name, "UTF-16", "save it as UTF-8");
});

test("a damaged Parquet file is read or refused, and nothing is left to end the process later", async () => {
  const whole = readFileSync(new URL("../../../../test/reference/rows.parquet", import.meta.url));
  let refused = 0;
  // a thread is started for each
  for (let at = 0; at < whole.length; at += 41) {
    const bytes = Buffer.from(whole);
    bytes[at]! ^= 1 << (at % 8);
    await rowsOf(file("damaged.parquet", bytes)).catch((error: unknown) => {
      assert.ok(error instanceof UserError, (error as Error).stack);
      refused++;
    });
  }
  assert.ok(refused > 5, `${refused}`);
});

test("a thread that ends between two looks at a Parquet file is heard of at the next", { timeout: 120_000 }, async () => {
  const started = once(process, "worker") as Promise<[Worker]>;
  const parquet = new URL("../../../../test/reference/rows.parquet", import.meta.url).pathname;
  const batches = readRows(parquet, new AbortController().signal, COLUMNS);
  assert.equal((await batches.next()).done, false);
  const [thread] = await started;
  await thread.terminate();
  await assert.rejects(batches.next(), { name: "UserError", message: /not a whole Parquet file.*rows\.parquet/ });
});

test("Parquet: rows of several row groups, a leading U+FEFF kept, lists of ids, nulls", async () => {
  const parquet = new URL("../../../../test/reference/rows.parquet", import.meta.url).pathname;
  assert.deepEqual(await rowsOf(parquet), [
    { fields: { instruction: "\uFEFFmark", input: "", output: "日本 🙂", input_ids: [1, 2, 3] } },
    { fields: { instruction: "second", input: null, output: "x", input_ids: [4] } },
    { fields: { instruction: "", input: "in", output: "y", input_ids: [] } },
  ]);
  await fails(file("cut.parquet", "PAR1 and then nothing"), "cut.parquet", "Parquet");
});

test("of a download's directory every data file is read, in order of the names", async () => {
  const nested = join(directory, "hub", "data");
  mkdirSync(nested, { recursive: true });
  const put = (name: string, content: string): void => writeFileSync(join(directory, "hub", name), content);
  put("README.md", "text");
  put("data/b.jsonl", '{"a": 2}');
  put("data/a.jsonl", '{"a": 1}');
  assert.deepEqual(await rowsOf(join(directory, "hub")), [{ fields: { a: 1 } }, { fields: { a: 2 } }]);
  put("data/test-00000-of-00001.json", '{"a": 3}');
  assert.deepEqual(await rowsOf(join(directory, "hub")), [{ fields: { a: 1 } }, { fields: { a: 2 } }, { fields: { a: 3 } }]);
  mkdirSync(join(directory, "named"));
  writeFileSync(join(directory, "named", "test.jsonl"), '{"a": 4}');
  assert.deepEqual(await rowsOf(join(directory, "named")), [{ fields: { a: 4 } }]);
});

test("reading stops with the signal's reason, whatever the file", async () => {
  const many = Array.from({ length: 20_000 }, (_, a) => ({ a, text: "some words to fill the file with" }));
  const csv = `a,text\n${many.map((row) => `${row.a},${row.text}`).join("\n")}`;
  for (const path of [file("many.json", JSON.stringify(many)), file("many.csv", csv)]) {
    const stop = new AbortController();
    let batches = 0;
    const reading = async (): Promise<void> => {
      for await (const batch of readRows(path, stop.signal, COLUMNS))
        if (batch.rows.length > 0 && ++batches === 1) stop.abort(new Error("paused"));
    };
    await assert.rejects(reading(), /^Error: paused$/);
    assert.equal(batches, 1);
  }
});

test("what is no dataset is refused by name", async () => {
  await fails(file("rows.xlsx", "x"), "rows.xlsx", ".parquet .jsonl .json .csv");
  await fails(join(directory, "absent.json"), "absent.json", "download");
  mkdirSync(join(directory, "nothing"));
  await fails(join(directory, "nothing"), "needs a data file", "no files");
});
