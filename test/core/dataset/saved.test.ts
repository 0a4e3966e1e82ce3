import assert from "node:assert/strict";
import { test } from "node:test";
import { savedFolders, savedRecords, savedSplits } from "../../../core/dataset/saved.js";
import { selectFiles } from "../../../core/dataset/select.js";

const state = (names: readonly string[], more: object = {}): string =>
  JSON.stringify({ _data_files: names.map((filename) => ({ filename })), _fingerprint: "f8f2", _format_type: null, _split: null, ...more });

/** Selects from what save_to_disk wrote; `files` have their texts where they are read. */
function selected(
  files: Readonly<Record<string, string>>,
  split: string | null = null,
  config: string | null = null,
): { readonly paths: readonly string[]; readonly words: string | null } {
  const paths = Object.keys(files);
  const folders = savedFolders(paths);
  const texts = new Map(savedRecords(folders, paths).map((path) => [path, files[path]!]));
  return selectFiles({ paths, card: [], saved: savedSplits(folders, texts, "d"), where: "d" }, { config, split });
}

/** What `datasets` 5.2 writes for a dictionary of splits. */
const DICTIONARY = {
  "dataset_dict.json": '{"splits": ["train", "test"]}',
  "train/dataset_info.json": "{}",
  "train/state.json": state(["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]),
  "train/data-00000-of-00002.arrow": "",
  "train/data-00001-of-00002.arrow": "",
  "train/cache-5f0a.arrow": "",
  "test/dataset_info.json": "{}",
  "test/state.json": state(["data-00000-of-00001.arrow"]),
  "test/data-00000-of-00001.arrow": "",
};

test("of a saved dictionary the split train is taken, the files that its state names, and others can be chosen", () => {
  assert.deepEqual(selected(DICTIONARY), {
    paths: ["train/data-00000-of-00002.arrow", "train/data-00001-of-00002.arrow"],
    words: "split train of train, test",
  });
  assert.deepEqual(selected(DICTIONARY, "test").paths, ["test/data-00000-of-00001.arrow"]);
  assert.throws(() => selected(DICTIONARY, "dev"), /no such split.*splits=train, test, got=dev/);
});

test("the state's own list decides which files count, and in which order", () => {
  const files = {
    ...DICTIONARY,
    "train/state.json": state(["data-00001-of-00002.arrow", "data-00000-of-00002.arrow"]),
    "train/data-00002-of-00003.arrow": "",
  };
  assert.deepEqual(selected(files).paths, ["train/data-00001-of-00002.arrow", "train/data-00000-of-00002.arrow"]);
});

test("a saved dataset without a dictionary is one split, which its state or its folder names", () => {
  const one = {
    "dataset_info.json": "{}",
    "state.json": state(["data-00000-of-00001.arrow"], { _split: "train" }),
    "data-00000-of-00001.arrow": "",
  };
  assert.deepEqual(selected(one), { paths: ["data-00000-of-00001.arrow"], words: null });
  assert.deepEqual(selected({ ...one, "state.json": state(["data-00000-of-00001.arrow"]) }).paths, ["data-00000-of-00001.arrow"]);
  const below = (folder: string): Record<string, string> =>
    Object.fromEntries(Object.entries(one).map(([path, text]) => [`${folder}/${path}`, text]));
  assert.deepEqual(selected({ ...below("train"), ...below("validation") }).paths, ["train/data-00000-of-00001.arrow"]);
  assert.throws(() => selected({ ...below("de"), ...below("en") }), /several configurations.*configurations=de, en/);
  assert.deepEqual(selected({ ...below("de"), ...below("en") }, null, "en").paths, ["en/data-00000-of-00001.arrow"]);
});

test("saved splits of other names are not mixed", () => {
  const files = Object.fromEntries(
    Object.entries(DICTIONARY).map(([path, text]) => [path.replace("train/", "sft/").replace("test/", "gen/"), text]),
  );
  const named = { ...files, "dataset_dict.json": '{"splits": ["sft", "gen"]}' };
  assert.throws(() => selected(named), /several splits.*splits=sft, gen/);
  assert.deepEqual(selected(named, "gen").paths, ["gen/data-00000-of-00001.arrow"]);
  const [sft] = Object.entries(named).filter(([path]) => path === "dataset_dict.json");
  assert.deepEqual(
    selected({ ...named, [sft![0]]: '{"splits": ["gen"]}' }).paths,
    ["gen/data-00000-of-00001.arrow"],
    "what the list lacks is left over",
  );
});

test("saved splits that differ by a number are not mixed", () => {
  const files = Object.fromEntries(
    Object.entries(DICTIONARY).map(([path, text]) => [path.replace("train/", "train_1/").replace("test/", "train_2/"), text]),
  );
  assert.throws(
    () => selected({ ...files, "dataset_dict.json": '{"splits": ["train_1", "train_2"]}' }),
    /several splits.*splits=train_1, train_2/,
  );
});

const BROKEN: readonly (readonly [what: string, files: Readonly<Record<string, string>>, problem: RegExp])[] = [
  [
    "a file that is missing",
    { ...DICTIONARY, "train/state.json": state(["data-9.arrow"]) },
    /names is missing.*missing=train\/data-9\.arrow/,
  ],
  ["a file outside", { ...DICTIONARY, "train/state.json": state(["../../x.arrow"]) }, /missing=train\/\.\.\/\.\.\/x\.arrow/],
  ["a state that is not JSON", { ...DICTIONARY, "train/state.json": "{" }, /record is not JSON.*file=train\/state\.json/],
  ["a state without files", { ...DICTIONARY, "train/state.json": "{}" }, /record cannot be used.*field=_data_files/],
  [
    "a file of indices",
    { ...DICTIONARY, "train/state.json": state(["data-00000-of-00002.arrow"], { _indices_data_files: [{ filename: "indices.arrow" }] }) },
    /by a file of indices/,
  ],
];
for (const [what, files, problem] of BROKEN)
  test(`a saved dataset with ${what} is refused by name`, () => {
    assert.throws(() => selected(files), { name: "UserError", message: problem });
  });

test("a split that was not copied cannot be chosen, and does no harm otherwise", () => {
  const copied = Object.fromEntries(Object.entries(DICTIONARY).filter(([path]) => !path.startsWith("test/")));
  assert.deepEqual(selected(copied).paths, ["train/data-00000-of-00002.arrow", "train/data-00001-of-00002.arrow"]);
  assert.throws(() => selected(copied, "test"), /no such split.*splits=train, got=test/);
  assert.equal(selected({ ...DICTIONARY, "test/state.json": state(["gone.arrow"]) }).paths.length, 2);
});
