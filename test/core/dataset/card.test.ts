import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseCardConfigs } from "../../../core/dataset/card.js";
import type { Chosen } from "../../../core/dataset/choose.js";
import { selectFiles } from "../../../core/dataset/select.js";
import { readFrontMatter } from "../../../infra/text/front-matter.js";

/** A card, the configuration that is asked for, and what `load_dataset_builder` of `datasets` 5.2 says: files by split, or an error's name. */
interface Case {
  readonly name: string;
  readonly card: string;
  readonly config: string | null;
  readonly datasets: Readonly<Record<string, readonly string[]>> | string;
}

const { files, cards } = JSON.parse(readFileSync(new URL("../../../../test/reference/dataset-cards.json", import.meta.url), "utf8")) as {
  readonly files: readonly string[];
  readonly cards: readonly Case[];
};

function chosen(card: string, config: string | null, split: string | null = null): Chosen {
  return selectFiles(
    {
      paths: ["README.md", ...files],
      card: parseCardConfigs(readFrontMatter(card, "README.md of d"), "README.md of d"),
      saved: [],
      where: "d",
    },
    { config, split },
  );
}

/** Where Roslin does otherwise, and why. */
const OTHERWISE: Readonly<Record<string, readonly string[]>> = {
  // datasets looks for a format at the wrong place, finds none, and fails
  "a folder with patterns": ["en/train/0000.json"],
  // datasets reads the rows twice; the stage's output says that it is not done
  "a file twice": ["a.json", "a_archive.json"],
  // without a list of files the layout decides: datasets mixes the configurations de and en
  "neither folder nor patterns": ["data/train.json"],
  "no configs": ["data/train.json"],
  "empty configs": ["data/train.json"],
  "configs of null": ["data/train.json"],
  "no front matter": ["data/train.json"],
  "an open front matter": ["data/train.json"],
};

for (const { name, card, config, datasets } of cards)
  test(`a card with ${name}${config === null ? "" : `, ${config} chosen,`} means what it means to datasets`, () => {
    const otherwise = OTHERWISE[name];
    if (otherwise !== undefined) assert.deepEqual(chosen(card, config).paths, otherwise);
    else if (typeof datasets === "string") assert.throws(() => chosen(card, config), { name: "UserError" });
    else {
      for (const [split, paths] of Object.entries(datasets)) assert.deepEqual(chosen(card, config, split).paths, paths);
      if (Object.keys(datasets).length === 1 || "train" in datasets)
        assert.deepEqual(chosen(card, config).paths, datasets["train"] ?? Object.values(datasets)[0]);
      assert.throws(() => chosen(card, config, "none"), {
        message: new RegExp(`no such split.*splits=${Object.keys(datasets).join(", ")}, got=none`),
      });
    }
  });

const card = (yaml: string): string => `---\n${yaml}\n---\n`;

const MESSAGES: readonly (readonly [what: string, yaml: string, message: RegExp])[] = [
  [
    "none is the default",
    "configs: [{config_name: de, data_files: a.json}, {config_name: en, data_files: a.json}]",
    /several configurations.*configurations=de, en, how=\?config=NAME/,
  ],
  [
    "a pattern matches nothing",
    "configs: [{config_name: default, data_files: [a.json, 'b*.json']}]",
    /matches no file \[source=d, pattern=b\*\.json, got=a\.json/,
  ],
  [
    "a pattern matches no data",
    "configs: [{config_name: default, data_files: '*.txt'}]",
    /matches no data file \[source=d, pattern=\*\.txt, expected=\.parquet.*got=notes\.txt/,
  ],
  ["a name is missing", "configs: [{data_files: a.json}]", /README\.md of d, problem=configs\.0\.config_name: must be there/],
  [
    "data_files is a mapping",
    "configs: [{config_name: x, data_files: {train: a.json}}]",
    /configs\.0\.data_files: must be a pattern, a list/,
  ],
  ["a folder leaves the dataset", "configs: [{config_name: x, data_dir: ../y}]", /the data_dir \.\.\/y is not a folder/],
  ["it is not YAML", "configs: [", /not YAML: correct it, or leave it out \[source=README\.md of d\]/],
  [
    "it refers to itself a thousand times",
    `a: &a [x]\n${Array.from({ length: 12 }, (_, index) => `b${index}: &b${index} [*${index === 0 ? "a" : `b${index - 1}`}, *${index === 0 ? "a" : `b${index - 1}`}]`).join("\n")}`,
    /not YAML.*alias/i,
  ],
  ["it is too long", `a: ${"x".repeat(2 << 20)}`, /too long \[source=README\.md of d, most=2097152, got=2097155\]/],
  ["it is nested without end", `a: ${"[".repeat(100_000)}`, /not YAML/],
  [
    "two splits are for training",
    "configs: [{config_name: x, data_files: [{split: a, path: a.json}, {split: b, path: a_archive.json}]}]",
    /several splits to train on.*configuration=x, splits=a, b, how=/,
  ],
  [
    "all splits are for tests",
    "configs: [{config_name: x, data_files: [{split: test, path: a.json}]}]",
    /for tests: choose the split.*splits=test, how=.*got=a\.json/,
  ],
];
for (const [what, yaml, message] of MESSAGES)
  test(`a card is refused with what is wrong when ${what}`, () => {
    const error = (() => {
      try {
        chosen(card(yaml), null);
      } catch (thrown) {
        return thrown as Error;
      }
      return assert.fail("it was not refused");
    })();
    assert.equal(error.name, "UserError");
    assert.match(`${error.message} ${error.cause instanceof Error ? error.cause.message : ""}`, message);
  });

test("names are as they are written, and a choice is told", () => {
  const text = card("configs:\n- config_name: no\n  data_files: a.json\n- config_name: 1.0\n  data_files: a_archive.json");
  assert.deepEqual(chosen(text, "no"), { paths: ["a.json"], words: "configuration no of no, 1.0" });
  assert.deepEqual(chosen(text, "1.0"), { paths: ["a_archive.json"], words: "configuration 1.0 of no, 1.0" });
  const splits = card("configs: [{config_name: x, data_files: [{split: train, path: a.json}, {split: dev.x, path: a_archive.json}]}]");
  assert.deepEqual(chosen(splits, null), { paths: ["a.json"], words: "split train of train, dev.x" });
  assert.deepEqual(chosen(splits, null, "dev.x").paths, ["a_archive.json"]);
});
