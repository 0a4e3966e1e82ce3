import assert from "node:assert/strict";
import { test } from "node:test";
import { summaryLines, type Summarized } from "../../../cli/show/row-summary.js";

const row = (source: number, ...ids: number[]): Summarized["rows"][number] => ({
  source,
  inputIds: Int32Array.from(ids),
  labels: Int32Array.from(ids),
});

const ROWS: Summarized = {
  rows: [row(0, 1, 5, 2), row(2, 1, 5, 5, 5, 2), row(3, 1, 2, 2, 2)],
  files: [
    { file: "a.jsonl", rows: 4 },
    { file: "b.jsonl", rows: 1 },
  ],
  metrics: {
    seconds: 1,
    rows: 5,
    trainRows: 1,
    testRows: 2,
    dropped: 0,
    rejected: 2,
    withoutLoss: 0,
    truncated: 1,
    cutAt: 9,
    usedColumns: "instruction, output",
    unusedColumns: "category",
    lossShare: 0.25,
  },
  prompt: "chat",
  stop: "</s>",
  tokenizer: null,
  special: { BOS: [1], EOS: [2, 3] },
  reasons: ["output is missing", "answer 2 is empty", "answer 2 is empty"],
};

test("a summary has files, columns, prompt, what became of the rows, lengths and special tokens", () => {
  assert.deepEqual(summaryLines(ROWS), [
    "source files:",
    "  a.jsonl: 4 rows",
    "  b.jsonl: 1 row",
    "columns: instruction, output",
    "COLUMNS WITH CONTENT THAT ARE NOT USED: category",
    'prompt: chat; an answer ends with "</s>"',
    "5 rows: 1 to train on, 2 held out, 0 dropped for an empty response, 0 left out because no token carries loss, 2 rejected, 1 cut at 9 tokens",
    "WARNING: MORE ROWS ARE HELD OUT (2) THAN TRAINED ON (1): lower preprocess.testRows",
    "reasons of rejections:",
    "  2 x answer 2 is empty",
    "  1 x output is missing",
    "tokens a row: 3 at least, 4 in the middle, 5 at most; 25.0 % of them carry loss",
    "BOS (id 1) a row: 1 at least, 1 in the middle, 1 at most",
    "EOS (id 2, id 3) a row: 1 at least, 1 in the middle, 3 at most",
  ]);
});

test("of many files some are listed, and what is not known is left out", () => {
  const files = Array.from({ length: 12 }, (_, n) => ({ file: `${n}.json`, rows: 1 }));
  const lines = summaryLines({ ...ROWS, files, metrics: { seconds: 1 }, prompt: null, stop: null, special: {}, reasons: [] });
  assert.deepEqual(lines.slice(-3), ["  9.json: 1 row", "  and 2 more", "tokens a row: 3 at least, 4 in the middle, 5 at most"]);
});
