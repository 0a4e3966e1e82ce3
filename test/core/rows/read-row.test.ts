import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRunConfig } from "../../../core/config/schema.js";
import { unusedKeys } from "../../../core/rows/messages.js";
import { rowReader } from "../../../core/rows/read-row.js";
import { RowProblem } from "../../../core/rows/row-fields.js";
import { chooseReading, columnList, type ColumnNames } from "../../../core/rows/row-reading.js";
import type { Conversation } from "../../../core/text/conversation.js";

type Row = Readonly<Record<string, unknown>>;

const all = (columns: readonly string[]): ColumnNames => ({ columns, filled: columns });

/** What a row says, whose columns are all that there are. */
function read(row: Row, dataset: object = {}): Conversation | null {
  const reading = chooseReading(all(Object.keys(row)), parseRunConfig({ dataset }).dataset);
  assert.ok(reading !== null && reading.kind !== "tokens", "no reading");
  return rowReader(reading)(row);
}

const turn = (instruction: string, input: string, output: string, scored = true): object => ({ instruction, input, output, scored });
const one = (...texts: [string, string, string]): object => ({ system: "", turns: [turn(...texts)] });

test("rows are read by the names of their columns", () => {
  assert.deepEqual(read({ instruction: "a", input: "b", output: "c" }), one("a", "b", "c"));
  assert.deepEqual(read({ instruction: "a", output: "c" }), one("a", "", "c"));
  // databricks-dolly-15k
  assert.deepEqual(read({ instruction: "a", context: "b", response: "c", category: "closed_qa" }), one("a", "b", "c"));
  assert.deepEqual(read({ instruction: "a", context: null, response: "c" }), one("a", "", "c"));
  // mixed
  assert.deepEqual(read({ instruction: "a", context: "b", output: "c" }), one("a", "b", "c"));
  assert.deepEqual(read({ instruction: "a", input: "b", response: "c" }), one("a", "b", "c"));
  assert.deepEqual(read({ instruction: "a", input: "", context: "b", output: null, response: "c" }), one("a", "b", "c"));
});

test("two columns for the same with content in one row are refused", () => {
  assert.throws(
    () => read({ instruction: "a", input: "b", context: "c", output: "d" }),
    /input and context both have content.*dataset\.columns/,
  );
  assert.throws(() => read({ instruction: "a", output: "c", response: "d" }), /output and response both have content/);
});

test("system and history are read", () => {
  const history = [
    ["q", "r"],
    ["s", "t"],
  ];
  assert.deepEqual(read({ instruction: "a", output: "c", system: "be kind", history }), {
    system: "be kind",
    turns: [turn("q", "", "r"), turn("s", "", "t"), turn("a", "", "c")],
  });
  assert.deepEqual(read({ instruction: "a", output: "c", system: " ", history: [] }), one("a", "", "c"));
  assert.deepEqual(read({ instruction: "a", output: "c", system: null, history: null }), one("a", "", "c"));
  assert.deepEqual(read({ instruction: "a", output: "c", history: '[["q", "r"]]' })?.turns.length, 2);
  for (const [history, message] of [
    ["none", /history: expected a list, got string/],
    [[["q"]], /history\[0\]: expected \[question, answer\]/],
    [[["q", 5]], /history\[0\]: expected text, got number/],
    [[["q", " "]], /history\[0\]: the answer is empty/],
  ] as const)
    assert.throws(() => read({ instruction: "a", output: "c", history }), message);
});

test("conversations of ShareGPT and of OpenAI are read, under either name", () => {
  const shared = [
    { from: "system", value: "be kind" },
    { from: "human", value: "a" },
    { from: "gpt", value: "b" },
    { from: "user", value: "c" },
    { from: "chatgpt", value: "d" },
  ];
  const opened = [
    { role: "developer", content: "be kind" },
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
    { role: "user", content: [{ type: "text", text: "c" }] },
    { role: "assistant", content: "d", weight: 1 },
  ];
  const expected = { system: "be kind", turns: [turn("a", "", "b"), turn("c", "", "d")] };
  for (const list of [shared, opened, JSON.stringify(shared)]) {
    assert.deepEqual(read({ conversations: list }), expected);
    assert.deepEqual(read({ messages: list }), expected);
    assert.deepEqual(read({ talk: list }, { columns: { messages: "talk" } }), expected);
  }
  assert.deepEqual(read({ conversations: shared.slice(1), system: "be kind" }), expected);
  const weighted = opened.map((message, at) => (at === 2 ? { ...message, weight: 0 } : message));
  assert.deepEqual(read({ messages: weighted })?.turns, [turn("a", "", "b", false), turn("c", "", "d")]);
});

test("a conversation that is not one is refused with its reason", () => {
  const ask = { role: "user", content: "a" };
  const say = { role: "assistant", content: "b" };
  for (const [messages, message] of [
    [[ask], /last message is a question without an answer/],
    [[say, ask, say], /got assistant as message 1/],
    [[ask, ask, say], /got user as message 2/],
    [[ask, say, { role: "system", content: "x" }, say], /got system as message 3/],
    [[ask, { role: "tool", content: "x" }], /messages\[1\]: the role "tool" is none of system, /],
    [[ask, { ...say, tool_calls: [{ id: 1 }] }], /messages\[1\] has tool_calls/],
    [[ask, { ...say, function_call: { name: "f" } }], /messages\[1\] has function_call/],
    [[ask, { ...say, reasoning_content: "hm" }], /messages\[1\] has reasoning_content/],
    [
      [{ ...ask, content: [{ type: "image_url", image_url: { url: "x" } }] }, say],
      /messages\[0\]\.content\[0\]: a part of type "image_url" is not text/,
    ],
    [[ask, say, ask, { ...say, content: "" }], /answer 2 is empty/],
    [[ask, { ...say, weight: 0.5 }], /weight: expected 0 or 1/],
    [[ask, { role: "assistant" }], /messages\[1\]\.content is missing/],
    [[{ content: "a" }, say], /messages\[0\]\.role is missing/],
    [[{ ...ask, content: "\ud83d" }, say], /half of a surrogate pair/],
    ["hello", /messages: expected a list, got string/],
    [["hello"], /messages\[0\]: expected an object, got string/],
    [[ask, say], undefined],
  ] as const)
    if (message === undefined) assert.doesNotThrow(() => read({ messages }));
    else
      assert.throws(
        () => read({ messages }),
        (error) => error instanceof RowProblem && message.test(error.message),
        String(message),
      );
  assert.throws(() => read({ messages: [{ role: "system", content: "x" }, ask, say], system: "y" }), /both have a system message/);
});

test("a row without any answer is empty", () => {
  assert.equal(read({ instruction: "a", output: " \n\u001c" }), null);
  assert.equal(read({ instruction: "a", context: "b", response: null }), null);
  assert.equal(
    read({
      messages: [
        { role: "user", content: "a" },
        { role: "assistant", content: null },
      ],
    }),
    null,
  );
  assert.equal(read({ messages: [] }), null);
});

test("columns of any name are read where the settings name them", () => {
  const columns = { instruction: "question", output: "answer", input: "passage", system: "persona", history: "before" };
  const row = { question: "a", passage: "b", answer: "c", persona: "kind", before: [["q", "r"]] };
  assert.deepEqual(read(row, { columns }), { system: "kind", turns: [turn("q", "", "r"), turn("a", "b", "c")] });
  assert.deepEqual(read({ prompt: "a", completion: "c" }, { columns: { instruction: "prompt", output: "completion" } }), one("a", "", "c"));
  // what is not named has its usual name
  assert.deepEqual(read({ question: "a", context: "b", response: "c" }, { columns: { instruction: "question" } }), one("a", "b", "c"));
  assert.throws(() => read({ question: "a" }, { columns: { instruction: "question", output: "answr" } }), {
    name: "UserError",
    message: /expected=answr, got=question/,
  });
});

test("a format takes its own columns alone", () => {
  const row = { instruction: "a", input: "b", context: "c", output: "d", response: "e", messages: [] };
  assert.deepEqual(read(row, { format: "alpaca" }), one("a", "b", "d"));
  assert.deepEqual(read(row, { format: "dolly-15k" }), one("a", "c", "e"));
  assert.throws(() => read({ instruction: "a", output: "b" }, { format: "sharegpt" }), {
    name: "UserError",
    message: /expected=conversations/,
  });
  assert.throws(() => read({ instruction: "a", output: "b" }, { format: "tokens" }), { name: "UserError", message: /expected=input_ids/ });
});

test("columns of two formats are refused if both have content", () => {
  const { dataset } = parseRunConfig({});
  const columns = ["instruction", "output", "messages"];
  assert.throws(() => chooseReading(all(columns), dataset), {
    name: "UserError",
    message: /dataset\.format.*columns=instruction and messages/,
  });
  assert.throws(() => chooseReading(all(["messages", "conversations"]), dataset), /messages and conversations/);
  assert.equal(chooseReading({ columns, filled: ["messages"] }, dataset)?.kind, "conversations");
  assert.equal(chooseReading({ columns, filled: ["instruction", "output"] }, dataset)?.kind, "instructions");
  assert.equal(chooseReading(all([...columns, "input_ids", "labels"]), dataset)?.kind, "tokens");
  assert.equal(chooseReading(all(["question", "answer"]), dataset), null);
  assert.equal(chooseReading(all(["prompt", "completion"]), dataset), null);
});

test("what messages have besides role and text is known by name", () => {
  const messages = [
    { role: "user", content: "a", time: 5, id: null },
    { from: "gpt", value: "b", weight: 1, name: "Ann" },
  ];
  assert.deepEqual(unusedKeys(messages), ["time", "name"]);
});

test("a column that the settings name for one thing means nothing else", () => {
  // Firefly's rows
  assert.deepEqual(
    read({ kind: "Couplet", input: "a", target: "b" }, { columns: { instruction: "input", output: "target" } }),
    one("a", "", "b"),
  );
  assert.deepEqual(read({ input: "a", output: "b" }, { columns: { instruction: "output", output: "input" } }), one("b", "", "a"));
  assert.deepEqual(read({ instruction: "a", system: "b" }, { columns: { output: "system" } }), one("a", "", "b"));
  assert.deepEqual(read({ history: "a", response: "b" }, { columns: { instruction: "history" } }), one("a", "", "b"));
  assert.deepEqual(read({ context: "a", input: "c", response: "b" }, { columns: { instruction: "context" } }), one("a", "c", "b"));
});

test("a system message that stands in a column and in the conversation is one", () => {
  const messages = [
    { role: "system", content: "Be kind." },
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
  ];
  assert.deepEqual(read({ messages, system: "Be kind." }), { system: "Be kind.", turns: [turn("a", "", "b")] });
  assert.throws(() => read({ messages, system: "Be rude." }), /both have a system message/);
});

test("messages in JSON text, and parts of messages, have keys that nothing uses, too", () => {
  const messages = [{ role: "user", content: [{ type: "text", text: "a", cache_control: { type: "ephemeral" } }], time: 5 }];
  for (const value of [messages, JSON.stringify(messages)]) assert.deepEqual(unusedKeys(value), ["time", "content[].cache_control"]);
  assert.deepEqual(unusedKeys("hello"), []);
});

test("a list in Python's notation, and a date, are said to be so", () => {
  assert.throws(
    () => read({ messages: "[{'role': 'user'}]" }),
    /expected a list, got string that is not JSON: write it with Python's json\.dumps/,
  );
  assert.throws(() => read({ instruction: "a", output: new Date(0) }), /output: expected text, got a date/);
});

test("names of columns that would not be seen stand in quotes", () => {
  assert.equal(columnList(["a b", "", " input", "x, y"]), 'a b, "", " input", "x, y"');
});
