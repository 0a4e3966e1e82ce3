import assert from "node:assert/strict";
import { test } from "node:test";
import { inOneFormat } from "../../../core/dataset/one-format.js";
import { NO_CHOICE, selectFiles } from "../../../core/dataset/select.js";

const selectDataFiles = (paths: readonly string[], where: string): readonly string[] =>
  inOneFormat(selectFiles({ paths, card: [], saved: [], where }, NO_CHOICE).paths, where);

test("of a dataset, one format and the train split are taken", () => {
  assert.deepEqual(selectDataFiles(["README.md", "data/train-00000-of-00001-a09b.parquet", "rows.json"], "d"), [
    "data/train-00000-of-00001-a09b.parquet",
  ]);
  assert.deepEqual(selectDataFiles(["test.jsonl", "train.jsonl", "dataset_infos.json"], "d"), ["train.jsonl"]);
  assert.deepEqual(selectDataFiles(["b.csv", "a.csv", ".hidden/c.csv"], "d"), ["a.csv", "b.csv"]);
  assert.deepEqual(selectDataFiles(["constraints.json"], "d"), ["constraints.json"]);
  assert.deepEqual(selectDataFiles(["train.json", "train.parquet", "train.CSV"], "d"), ["train.parquet"]);
});

const splits: readonly (readonly [paths: readonly string[], taken: readonly string[]])[] = [
  [["training.jsonl", "test.jsonl"], ["training.jsonl"]],
  [["train.json", "validation.jsonl"], ["train.json"]],
  [["test.parquet", "data.jsonl"], ["data.jsonl"]],
  [["train.csv", "eval/questions.json"], ["train.csv"]],
  [["alpaca_data.json", "alpaca_data_test.json", "package.json"], ["alpaca_data.json"]],
  [["Training/rows.json", "Training/Test.json"], ["Training/rows.json"]],
  [["a.json", "val.json", "dev/b.json", "valid-1.json"], ["a.json"]],
  [["test/train.json"], ["test/train.json"]],
  [
    ["contest.json", "evaluation.json"],
    ["contest.json", "evaluation.json"],
  ],
];
for (const [paths, taken] of splits)
  test(`of ${paths.join(", ")} the rows to train on are those of ${taken.join(", ")}`, () => {
    assert.deepEqual(selectDataFiles(paths, "d"), taken);
    assert.deepEqual(selectDataFiles(taken, "d"), taken, "what was selected is so again");
  });

test("files of tests alone are no rows to train on, and are named", () => {
  assert.throws(() => selectDataFiles(["dev.jsonl", "data/test-00000-of-00001.parquet"], "hf://d"), {
    name: "UserError",
    message: /for tests.*source=hf:\/\/d.*got=dev\.jsonl data\/test-00000-of-00001\.parquet/,
  });
  assert.throws(
    () => selectDataFiles(["train.jsonl.xz"], "d"),
    /needs a data file.*expected=\.parquet \.jsonl \.json \.csv .*, got=train\.jsonl\.xz/,
  );
});

test("files beside the chosen ones that may hold rows and are not read are named", () => {
  const words = (...paths: string[]): string | null => selectFiles({ paths, card: [], saved: [], where: "d" }, NO_CHOICE).words;
  assert.equal(
    words("part-1.jsonl", "part-2.jsonl.xz"),
    "NOT READ: part-2.jsonl.xz is compressed with xz: unpack it with `xz -d part-2.jsonl.xz`",
  );
  assert.equal(words("train.csv", "more.xlsx"), "NOT READ: more.xlsx is a spreadsheet: save it as CSV");
  // copies, rows to test on, hidden files, and what holds no rows
  assert.equal(words("rows.csv", "rows.xlsx", "test.jsonl.xz", ".old/rows.zip", "README.md", "notes.txt", "cat.png"), null);
  const card = [{ name: "default", isDefault: true, directory: "", splits: new Map([["train", ["a/*"]]]) }];
  const paths = ["a/1.jsonl", "a/2.jsonl.bz2", "b/3.zip"];
  const { words: said } = selectFiles({ paths, card, saved: [], where: "d" }, NO_CHOICE);
  assert.match(said ?? "", /^NOT READ: a\/2\.jsonl\.bz2 is compressed with bzip2: [^;]*$/);
});

test("a directory of files that are not read says what they are", () => {
  assert.throws(
    () => selectDataFiles(["rows.jsonl.xz"], "d"),
    /needs a data file.*rows\.jsonl\.xz is compressed with xz: unpack it with `xz -d rows\.jsonl\.xz`/,
  );
});

test("of a file and its compressed copy the plain one is taken", () => {
  assert.deepEqual(selectDataFiles(["rows.jsonl", "rows.jsonl.gz"], "d"), ["rows.jsonl"]);
});
