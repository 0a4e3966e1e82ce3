import assert from "node:assert/strict";
import { test } from "node:test";
import { delimiterOf, type Delimiter } from "../../../infra/dataset/delimiter.js";
import { fails, fieldsOf, madeFiles, readAll } from "./made-files.js";

const file = madeFiles();
const NAMES = ["instruction", "input", "output"];

const HEADERS: readonly (readonly [header: string, delimiter: Delimiter])[] = [
  ["instruction,input,output", ","],
  ["instruction;input;output", ";"],
  ["instruction\toutput", "\t"],
  ["instruction|output", "|"],
  ['"instruction";"a, b";output', ";"],
  ['"instruction;x",output', ","],
  ['"say ""hi"", you",instruction', ","],
  ["instruction", ","],
  ["", ","],
  ["a;b", ";"],
  ["question (a|b);instruction;output", ";"],
  ["note, with a comma;instruction;input", ";"],
  ["instruction,output;old", ","],
];
for (const [header, delimiter] of HEADERS)
  test(`the fields of ${JSON.stringify(header)} are divided by ${JSON.stringify(delimiter)}`, () => {
    assert.equal(delimiterOf(header, NAMES, ",", "f"), delimiter);
  });

test("a header that may be cut in two ways is refused, and names both", async () => {
  assert.throws(() => delimiterOf("a,b;c", NAMES, ",", "f.csv"), {
    name: "UserError",
    message: /more than one way.*file=f\.csv, header=a,b;c, by=comma or semicolon/,
  });
  await fails(file("two.csv", "a\tb|c\n1\t2|3\n"), ["two.csv", "by=tab or vertical bar"]);
  // names that are asked for decide
  assert.deepEqual(await fieldsOf(file("two.csv", "a\tb|c\n1\t2|3\n"), ["b|c"]), [{ a: "1", "b|c": "2|3" }]);
});

test("one column is read whatever its text has", async () => {
  assert.deepEqual(await fieldsOf(file("one.csv", 'output\n"a;b"\na;b\n')), [{ output: "a;b" }, { output: "a;b" }]);
  assert.deepEqual(await fieldsOf(file("one.tsv", "output\na,b\n")), [{ output: "a,b" }]);
});

test("a header with line feeds in quotes, after empty lines, in small pieces", async () => {
  const text = '\r\n\n"instruction\n;x";output;input\r\na;b;"c\n;"\r\n';
  assert.deepEqual(await fieldsOf(file("quoted.csv", text)), [{ "instruction\n;x": "a", output: "b", input: "c\n;" }]);
});

test("Excel's line that names the character is not a header, and lines are counted with it", async () => {
  const { rows } = await readAll(file("sep.csv", "sep=;\r\ninstruction;output\r\na,b;c\r\nd\r\n"));
  assert.deepEqual(rows, [
    { fields: { instruction: "a,b", output: "c" } },
    { problem: "the row that ends in line 4 has 1 fields, the header has 2" },
  ]);
});

test("columns with the same name matter if they are asked for", async () => {
  const text = "instruction,note,output,note\na,1,b,2\n";
  assert.equal((await fieldsOf(file("twice.csv", text))).length, 1);
  await fails(file("twice.csv", text), ["two columns with the same name", "column=note"], ["note"]);
});

test("JSON under a name of CSV is told so", async () => {
  for (const text of ['[{"a": 1}]', '{"a": 1, "b": 2}\n', '[\n{\n"a": 1}]', "{\n"])
    await fails(file("json.csv", text), ["json.csv", "is JSON, not CSV"]);
});
