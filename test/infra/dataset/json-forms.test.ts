import assert from "node:assert/strict";
import { test } from "node:test";
import { JsonProbe } from "../../../infra/dataset/json-probe.js";
import { fails, fieldsOf, madeFiles, readAll } from "./made-files.js";

const file = madeFiles();
const json = (value: unknown): string => JSON.stringify(value);
const A = { instruction: "a", output: "b" };
const B = { instruction: 'c"}]{[', output: "d" };

const ROWS: readonly (readonly [what: string, text: string, rows: readonly unknown[]])[] = [
  ["one row", json(A), [A]],
  ["one row, pretty", JSON.stringify(A, null, 2), [A]],
  ["rows below a key", json({ version: "1.0", data: [A, B] }), [A, B]],
  [
    "rows below the last key",
    `\uFEFF ${JSON.stringify({ meta: { of: { many: [1, [2]] } }, list: [], "rö\nws": [A, B] }, null, 1)} \n`,
    [A, B],
  ],
  ["pandas' table", json({ schema: { fields: [{ name: "instruction" }], pandas_version: "1" }, data: [A, B] }), [A, B]],
  ["a row of tokens", json({ input_ids: [1, 2], labels: [1, 2] }), [{ input_ids: [1, 2], labels: [1, 2] }]],
  ["a row with a list of rows", json({ ...A, examples: [B] }), [{ ...A, examples: [B] }]],
  ["a conversation", json({ id: 1, messages: [{ role: "user", content: "x" }] }), [{ id: 1, messages: [{ role: "user", content: "x" }] }]],
  [
    "a conversation, pretty",
    JSON.stringify({ turns: [{ value: "x", from: "human" }] }, null, 1),
    [{ turns: [{ value: "x", from: "human" }] }],
  ],
  ["two conversations", `${json({ chat: [{ a: 1 }] })}\n${json({ chat: [{ a: 2 }] })}`, [{ chat: [{ a: 1 }] }, { chat: [{ a: 2 }] }]],
  ["an empty list below a key", json({ data: [] }), [{ data: [] }]],
  ["equal keys", '{"instruction": "a", "instruction": "b"}', [{ instruction: "b" }]],
  ["a wide number", '[{"id": 12345678901234567890}]', [{ id: 1.2345678901234567e19 }]],
];
for (const [what, text, rows] of ROWS)
  test(`JSON: ${what}`, async () => {
    assert.deepEqual(await fieldsOf(file("form.json", text)), rows);
    assert.deepEqual(await fieldsOf(file("form.jsonl", text)), rows);
  });

test("JSON: a list of objects in a column that is asked for is part of a row", async () => {
  const row = { id: 1, dialog: [{ text: "x" }] };
  assert.deepEqual(await fieldsOf(file("dialog.json", json(row)), ["dialog"]), [row]);
  assert.deepEqual(await fieldsOf(file("dialog.json", json(row))), row.dialog);
});

const REFUSED: readonly (readonly [what: string, text: string, words: readonly string[]])[] = [
  ["two lists of rows", json({ train: [A], test: [B] }), ["several lists of rows", "keys=train, test", "jq '.train'"]],
  ["a list of features and one of rows", json({ features: [{ name: "a" }], rows: [A, B] }), ["keys=features, rows", "jq '.rows'"]],
  ["rows below two keys", json({ data: { train: [A, B], n: 2 } }), ["below two keys", "keys=data.train"]],
  [
    "pandas' columns",
    json({ instruction: { "0": "a", "1": "c" }, output: { "0": "b", "1": "d" } }),
    ["row numbers for each column", "keys=instruction, output", 'orient="records"'],
  ],
  ["a list for each column", json({ instruction: ["a", "c"], output: ["b", "d"] }), ["a list for each column", "keys=instruction, output"]],
  ["pandas' split", json({ columns: ["instruction"], index: [0], data: [["a"]] }), ['orient="split"']],
  ["pandas' index", json({ "0": A, "1": B }), ['orient="index"', "keys=0, 1"]],
  ["objects by name", json({ first: A, second: B }), ["an object for each row", "keys=first, second"]],
  ["a cut object", '{\n "data": [\n  {"instruction": "a"},\n  {"instr', ["ends inside its first object", "line=4"]],
  ["a damaged row below a key", '{"data": [\n {"a": 1},\n {"a" 2}]}', ["not JSON", "line=3"]],
  ["a comment", '[\n // the first\n {"a": 1}]', ["not JSON", "line=2", "column=2", "no comments"]],
  ["a comma before a bracket", '[\n {"a": 1,},\n {"a": 2}]', ["not JSON", "line=2", "column=10", "a comma before the closing bracket"]],
  ["a comma after the last row", '[\n {"a": 1},\n]', ["not JSON", "line=3", "remove the comma"]],
  ["Python's notation", "[{'a': True}]", ["not JSON", "line=1", "column=3", "json.dumps"]],
  ["Python's constants", '[{"a": None}]', ["not JSON", "column=8", "json.dumps"]],
  ["something after objects", '{\n"a": 1\n}\n{"a": 2},\n{"a": 3}', ["not JSON of rows", "line=4", "column=9", "one more row"]],
];
for (const [what, text, words] of REFUSED)
  test(`JSON that is not read: ${what}`, async () => {
    await fails(file("refused.json", text), ["refused.json", ...words]);
    await fails(file("refused.jsonl", text), ["refused.jsonl", ...words]);
  });

test("JSON: wherever the stream is cut, its form is the same", () => {
  for (const [, text] of [...ROWS, ...REFUSED]) {
    const bytes = Buffer.from(text);
    const shapeOf = (chunks: readonly Uint8Array[]): unknown => {
      const probe = new JsonProbe("f", ["instruction"], false);
      try {
        for (const chunk of chunks) {
          const shape = probe.push(chunk);
          if (shape !== null) return shape;
        }
        return probe.end();
      } catch (error) {
        return (error as Error).message;
      }
    };
    const whole = shapeOf([bytes]);
    for (let cut = 0; cut <= bytes.length; cut++) assert.deepEqual(shapeOf([bytes.subarray(0, cut), bytes.subarray(cut)]), whole);
  }
});

test("JSON: rows below a key are as many as memory need not hold", async () => {
  const row = json({ instruction: "a".repeat(1000), output: "b" });
  const path = file("many.json", `{"version": "1.0", "data": [${Array.from({ length: 100_000 }, () => row).join(",\n")}]}`);
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  const { readRows } = await import("../../../infra/dataset/rows.js");
  let rows = 0;
  for await (const batch of readRows(path, new AbortController().signal, ["instruction"])) {
    rows += batch.rows.length;
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  }
  assert.equal(rows, 100_000);
  assert.ok(most < 32 << 20, `${most}`);
});

test("JSON: NaN and Infinity make a bad row that names the field, in lines, lists and below a key", async () => {
  const rows = ['{"a": "NaN, Infinity", "score": NaN}', '{"a": 1}', '{"b": {"c": [1, -Infinity]}}', '{"c": Infinity, "d": NaN}'];
  const problems = [
    "score is NaN, which JSON does not have: write null or leave the field out",
    undefined,
    "b is -Infinity, which JSON does not have: write null or leave the field out",
    "c is Infinity, which JSON does not have: write null or leave the field out",
  ];
  for (const [name, text] of [
    ["words.jsonl", rows.join("\n")],
    ["words.json", `[${rows.join(",\n")}]`],
    ["words-below.json", `{"data":[${rows.join(",\n")}]}`],
    ["words-objects.json", rows.join("")],
  ] as const) {
    const read = await readAll(file(name, text));
    assert.deepEqual(
      read.rows.map((row) => ("problem" in row ? row.problem.replace(/^line \d+: /, "") : undefined)),
      problems,
      name,
    );
    assert.deepEqual(read.rows[1], { fields: { a: 1 } });
  }
  const lines = await readAll(file("words.jsonl", rows.join("\n")));
  assert.match((lines.rows[2] as { problem: string }).problem, /^line 3: /);
  await fails(file("other.json", '[{"a": nan}]'), ["not JSON", "line=1"]);
});

test("JSON: a first line that is damaged is one bad row, and the others are read", async () => {
  for (const first of ['{"a": "open', '{"a": [1, 2', '{"a": 1]', '{"a": 1}}', "{a: 1}", "words"]) {
    const { rows } = await readAll(file("first.jsonl", `${first}\n{"a": 1}\n{"a": 2}\n`));
    assert.equal(rows.length, 3, first);
    assert.match((rows[0] as { problem: string }).problem, /^line 1, column \d+: no JSON object on one line/);
    assert.deepEqual(rows.slice(1), [{ fields: { a: 1 } }, { fields: { a: 2 } }]);
  }
});
