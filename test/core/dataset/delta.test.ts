import assert from "node:assert/strict";
import { test } from "node:test";
import { deltaCommits, deltaFiles } from "../../../core/dataset/delta.js";
import { tablesAmong, type Table } from "../../../core/dataset/tables.js";

const TABLE: Table = { kind: "Delta", folder: "" };
const START = [
  { protocol: { minReaderVersion: 1, minWriterVersion: 2 } },
  { metaData: { format: { provider: "parquet", options: {} }, schemaString: "{}", partitionColumns: [], configuration: {} } },
];
const add = (path: string, more: object = {}): object => ({
  add: { path, partitionValues: {}, size: 1, dataChange: true, stats: "{}", tags: null, ...more },
});
const remove = (path: string): object => ({ remove: { path, dataChange: true, partitionValues: {}, size: 1 } });

const commit = (version: number): string => `_delta_log/${String(version).padStart(20, "0")}.json`;

function active(commits: readonly (readonly object[])[], files: readonly string[], table: Table = TABLE): string[] {
  const prefix = table.folder === "" ? "" : `${table.folder}/`;
  const texts = new Map(
    commits.map((actions, version) => [`${prefix}${commit(version)}`, actions.map((each) => JSON.stringify(each)).join("\n") + "\n"]),
  );
  const paths = [...texts.keys(), ...files];
  assert.deepEqual(deltaCommits(table, paths, "d"), [...texts.keys()]);
  return [...deltaFiles(table, texts, paths, "d")];
}

test("a Delta table's files are those that its log added and did not remove, in the log's order of commits", () => {
  const written = [
    [...START, add("a.parquet")],
    [remove("a.parquet"), add("b.parquet")],
    [{ commitInfo: {} }, add("c.parquet")],
  ];
  assert.deepEqual(active(written, ["a.parquet", "b.parquet", "c.parquet"]), ["b.parquet", "c.parquet"]);
  assert.deepEqual(active([[...START, add("a.parquet")], [remove("a.parquet")], [add("a.parquet")]], ["a.parquet"]), ["a.parquet"]);
  assert.deepEqual(active([[...START, add("x/a%20b%25.parquet")]], ["t/x/a b%.parquet"], { kind: "Delta", folder: "t" }), [
    "t/x/a b%.parquet",
  ]);
  assert.deepEqual(
    active(
      [
        [...START, add("a.parquet")],
        [{ metaData: { ...START[1]!.metaData } }, remove("a.parquet")],
      ],
      ["a.parquet"],
    ),
    [],
  );
});

test("what a protocol allows and no file and no column uses does no harm", () => {
  const protocol = {
    minReaderVersion: 3,
    minWriterVersion: 7,
    readerFeatures: ["deletionVectors", "variantType", "timestampNtz", "columnMapping"],
  };
  assert.deepEqual(active([[...START, { protocol }, add("a.parquet", { deletionVector: null })]], ["a.parquet"]), ["a.parquet"]);
  // what counts is the last metadata
  const before = { metaData: { partitionColumns: ["day"] } };
  assert.deepEqual(
    active(
      [
        [before, add("a.parquet")],
        [START[1]!, remove("a.parquet"), add("b.parquet")],
      ],
      ["b.parquet"],
    ),
    ["b.parquet"],
  );
});

const REFUSED: readonly (readonly [what: string, actions: readonly object[], problem: RegExp])[] = [
  [
    "deletion vectors",
    [...START, add("a.parquet", { deletionVector: { storageType: "u" } })],
    /deleted by a deletion vector.*file=_delta_log\/0+\.json/,
  ],
  ["mapped columns", [{ metaData: { configuration: { "delta.columnMapping.mode": "name" } } }, add("a.parquet")], /column mapping/],
  [
    "partitions",
    [{ metaData: { partitionColumns: ["day", "hour"] } }, add("day=1/a.parquet")],
    /columns day, hour are kept in the log alone/,
  ],
  ["an unknown feature", [{ protocol: { minReaderVersion: 3, readerFeatures: ["catalogManaged"] } }], /needs the feature catalogManaged/],
  ["a later protocol", [{ protocol: { minReaderVersion: 4 } }], /version 4 of the protocol/],
  ["variants", [{ metaData: { schemaString: '{"type":"variant"}' } }], /variants/],
  ["another format", [{ metaData: { format: { provider: "orc" } } }], /in the format orc/],
  ["a shallow clone", [...START, add("s3://b/a.parquet")], /outside the table/],
  ["a missing file", [...START, add("gone.parquet")], /the file gone\.parquet that its log names is missing/],
];
for (const [what, actions, problem] of REFUSED)
  test(`a Delta table with ${what} is refused by name, with a command that exports its rows`, () => {
    assert.throws(
      () => active([actions], ["a.parquet"]),
      (error: Error) =>
        error.name === "UserError" && problem.test(error.message) && /Delta table.*source=d.*how=duckdb.*delta_scan/.test(error.message),
    );
  });

test("a log whose beginning, middle or end is in a checkpoint alone is refused", () => {
  const lacks = (version: number, ...names: string[]): void =>
    assert.throws(
      () =>
        deltaCommits(
          TABLE,
          names.map((name) => `_delta_log/${name}`),
          "d",
        ),
      { message: new RegExp(`lacks the commit of version ${version}, and checkpoints`) },
    );
  const [first, second, third] = [0, 1, 2].map((version) => String(version).padStart(20, "0"));
  lacks(0, `${second}.json`);
  lacks(1, `${first}.json`, `${third}.json`);
  lacks(1, `${first}.json`, `${second}.checkpoint.parquet`);
  lacks(1, `${first}.json`, `${second}.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json`);
  lacks(0, "_last_checkpoint");
  // a checkpoint beside all commits is not needed
  assert.equal(
    deltaCommits(TABLE, [`_delta_log/${first}.json`, `_delta_log/${first}.checkpoint.parquet`, "_delta_log/_last_checkpoint"], "d").length,
    1,
  );
});

test("tables are known by their records, wherever they lie", () => {
  const kinds = (...paths: string[]): string[] => tablesAmong(paths).map(({ kind, folder }) => `${kind} in ${folder}`);
  assert.deepEqual(kinds("_delta_log/00000000000000000000.json", "a.parquet"), ["Delta in "]);
  assert.deepEqual(kinds("x/y/_delta_log/_last_checkpoint", "x/z/_delta_log/0.json"), ["Delta in x/y", "Delta in x/z"]);
  assert.deepEqual(kinds("metadata/00000-57eb5ff5.metadata.json", "metadata/snap-1-1-57.avro", "data/a.parquet"), ["Iceberg in "]);
  assert.deepEqual(kinds("db/t/metadata/v1.metadata.json", "db/t/metadata/version-hint.text"), ["Iceberg in db/t"]);
  assert.deepEqual(kinds("t/.hoodie/hoodie.properties", "t/.hoodie/20240101.commit"), ["Hudi in t"]);
  assert.deepEqual(kinds("day=1/.hoodie_partition_metadata", "day=1/a.parquet"), ["Hudi in day=1"]);
  assert.deepEqual(kinds("out/_spark_metadata/0", "out/part-0.parquet"), ["Spark streaming in out"]);
  assert.deepEqual(kinds("metadata.json", "metadata/rows.json", "delta_log/a.json", "data/metadata/index.json"), []);
});
