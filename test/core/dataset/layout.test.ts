import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { inOneFormat } from "../../../core/dataset/one-format.js";
import { NO_CHOICE, selectFiles } from "../../../core/dataset/select.js";

/** Layouts, and the files that `datasets` 5.2 takes for the split train; null: it has no such split. */
const layouts = JSON.parse(readFileSync(new URL("../../../../test/reference/dataset-layouts.json", import.meta.url), "utf8")) as Readonly<
  Record<string, { readonly files: readonly string[]; readonly train: readonly string[] | null }>
>;

function selected(paths: readonly string[], config: string | null = null, split: string | null = null): string {
  const chosen = selectFiles({ paths, card: [], saved: [], where: "d" }, { config, split });
  return inOneFormat(chosen.paths, "d").join(" ");
}

/** What happens where it is not what `datasets` does: other files, or a refusal that names what there is to choose from. */
const OTHERWISE: Readonly<Record<string, string | RegExp>> = {
  // datasets mixes what differs
  "two names before the split": /several splits.*splits=alpaca_train, dolly_train, how=/,
  versions: /several splits.*splits=train-v1, train-v2/,
  sizes: /several splits.*splits=train-100k, train-10k/,
  LibriSpeech: /several splits.*splits=dev-clean, dev-other, train-clean, train-other/,
  "train and more": "train.json",
  "refs/convert/parquet, two configurations": /several configurations.*configurations=de, en, how=/,
  "refs/convert/parquet, a default one among two": "default/train/0000.parquet",
  "refs/convert/parquet, splits with other names": /several splits.*splits=chosen, rejected, how=/,
  "shards of splits with numbers": /several splits.*splits=train_1, train_2/,
  "languages below data": /several configurations.*configurations=de, en/,
  "languages with their files": /several configurations.*configurations=de, en/,
  "a train file beside an archive": "train.json",
  "k folds": /several configurations.*configurations=fold_0, fold_1/,
  // datasets takes tests for rows to train on, because it looks for other spellings
  "partitions by split": "split=train/part-0.parquet",
  capitals: "Train.json",
  // datasets reads the same rows several times
  "the same rows in three formats": "train.parquet",
  "the same rows in folders of formats": "parquet/train.parquet",
  "the same rows whole and in shards": "train-00000-of-00002.parquet train-00001-of-00002.parquet",
  // datasets takes the format that more files have
  "two formats of different rows": /several formats.*\.parquet=a\.parquet, \.jsonl=b\.jsonl/,
  // datasets has no split called train, and asks its caller for one
  ultrachat: /several splits.*splits=test_gen, test_sft, train_gen, train_sft/,
  "one split with train and a word": "data/train_sft-00000-of-00001.parquet",
  "splits with other names": /several splits.*splits=chosen, sft/,
  "one split with another name": "data/full-00000-of-00001.parquet",
  "no word of training beside a test": "rows.json",
  "a test beside numbered shards": "shard-1.json shard-2.json",
  "languages with tests only": /several configurations.*configurations=de, en/,
  "tests only": /for tests: choose the split.*splits=validation, test.*got=dev\.jsonl data\/test/,
};

for (const [name, { files, train }] of Object.entries(layouts)) {
  const expected = OTHERWISE[name] ?? train?.join(" ");
  test(`of ${name}: ${files.join(", ")} ${expected instanceof RegExp ? "none is taken" : `${expected} is taken`}`, () => {
    if (expected instanceof RegExp) assert.throws(() => selected(files), { name: "UserError", message: expected });
    else assert.equal(selected(files), expected);
  });
}

const CHOSEN: readonly (readonly [layout: string, config: string | null, split: string | null, files: string | RegExp])[] = [
  ["refs/convert/parquet, two configurations", "en", null, "en/train/0000.parquet"],
  ["refs/convert/parquet, two configurations", "de", "train", "de/train/0000.parquet"],
  ["refs/convert/parquet, two configurations", "fr", null, /no such configuration.*configurations=de, en, got=fr/],
  ["refs/convert/parquet, two configurations", "de", "test", /no such split.*configuration=de, splits=train, got=test/],
  ["refs/convert/parquet, partial", "default", "train", "default/partial-train/0000.parquet default/partial-train/0001.parquet"],
  ["refs/convert/parquet, partial", null, "validation", "default/validation/0000.parquet"],
  ["refs/convert/parquet, one of many", "20220301.en", null, "20220301.en/train/0000.parquet 20220301.en/train/0001.parquet"],
  ["refs/convert/parquet, splits with other names", null, "rejected", "default/rejected/0000.parquet"],
  ["refs/convert/parquet, train among other names", "en", "sft", "en/sft/0000.parquet"],
  ["languages with their files", "de", "test", "de/test.jsonl"],
  ["ultrachat", null, "train_gen", "data/train_gen-00000-of-00003-a6c9fb894be3e50b.parquet"],
  ["ultrachat", null, "test_sft", "data/test_sft-00000-of-00001-f7dfac4afe5b93f4.parquet"],
  ["ultrachat", null, "train", /no such split.*got=train/],
  ["ultrachat", "default", "test_gen", "data/test_gen-00000-of-00001-3d4cd8309148a71f.parquet"],
  ["tests only", null, "dev", "dev.jsonl"],
  ["tests only", null, "test", "data/test-00000-of-00001.parquet"],
  ["a name before the split", null, "test", "alpaca_test.json"],
  ["LibriSpeech", null, "train-other", "train-other.json"],
  ["train and more", null, "train_extra", "train_extra.json"],
  ["one file", null, "train", "rows.json"],
  ["one file", "default", null, "rows.json"],
  ["one file", "en", null, /no such configuration.*configurations=default, got=en/],
];
for (const [layout, config, split, files] of CHOSEN)
  test(`of ${layout}, configuration ${config ?? "any"} and split ${split ?? "any"} ${files instanceof RegExp ? "are refused" : "are taken"}`, () => {
    const { files: paths } = layouts[layout]!;
    if (files instanceof RegExp) assert.throws(() => selected(paths, config, split), { name: "UserError", message: files });
    else assert.equal(selected(paths, config, split), files);
  });

test("what is chosen, and from what, is told only where there is something to choose", () => {
  const words = (name: string): string | null =>
    selectFiles({ paths: layouts[name]!.files, card: [], saved: [], where: "d" }, NO_CHOICE).words;
  assert.equal(words("alpaca as the hub has it"), null);
  assert.equal(words("train and test"), "split train of train, test");
  assert.equal(words("shards beside others"), "data files beside the shards in data/ left out: 2");
  assert.equal(words("refs/convert/parquet, a default one among two"), "configuration default of default, en");
});

test("converted splits that differ by a number are not mixed", () => {
  assert.throws(
    () => selected(["default/train_1/0000.parquet", "default/train_2/0000.parquet"]),
    /several splits.*splits=train_1, train_2/,
  );
});

test("parts of one whole in two formats are not taken for copies", () => {
  assert.throws(() => selected(["train-0.jsonl", "train-1.csv"]), /several formats/);
  assert.equal(selected(["train-0.jsonl", "train-1.json"]), "train-0.jsonl train-1.json");
  assert.equal(selected(["train.json", "train.jsonl"]), "train.jsonl");
});
