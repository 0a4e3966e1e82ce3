import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { preprocess } from "../../../activities/preprocess/preprocess.js";
import { dependencies, leaveDownload, requestFor, writeModel } from "../../activities/preprocess/helpers.js";

const directory = mkdtempSync(join(tmpdir(), "roslin-inspect-"));
after(() => rmSync(directory, { recursive: true }));
const root = join(directory, "stages");

before(async () => {
  const dataset = join(directory, "rows.json");
  const rows = Array.from({ length: 20 }, (_, n) => ({ instruction: `Say ${n}.`, output: n === 3 ? "" : `answer ${n}` }));
  writeFileSync(dataset, JSON.stringify(rows));
  const request = await requestFor(root, writeModel(join(directory, "model")), dataset, { testRows: 5 });
  await preprocess(dependencies, request, { signal: new AbortController().signal, progress: () => {} });
  await leaveDownload(root, request);
});

const command = new URL("../../../cli/commands/inspect.js", import.meta.url).href;
function scriptOf(args: readonly string[]): string {
  return `const { inspect } = await import(${JSON.stringify(command)}); process.exitCode = await inspect.run(${JSON.stringify(args)}, { variables: {} });`;
}
function inspect(...args: string[]): { out: string; err: string } {
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", scriptOf(args)], { encoding: "utf8" });
  return { out: stdout, err: stderr };
}
const rowsOf = (out: string): { row: number; input_ids: number[]; labels: number[] }[] =>
  out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { row: number; input_ids: number[]; labels: number[] });

test("--json prints a line a row in the source's order, by its index in the source", () => {
  const all = rowsOf(inspect(root, "--json").out);
  assert.deepEqual(
    all.map((row) => row.row),
    [...Array(20).keys()].filter((row) => row !== 3),
  );
  assert.deepEqual(Object.keys(all[0]!), ["row", "input_ids", "labels"]);
  assert.equal(Buffer.from(all[4]!.input_ids).toString().endsWith("### Response:\nanswer 5\n\n### End"), true);
  assert.equal(Buffer.from(all[4]!.labels.filter((label) => label !== -100)).toString(), "answer 5\n\n### End");
});

test("--split and --limit choose rows", () => {
  const train = rowsOf(inspect(root, "--json", "--split", "train").out);
  const held = rowsOf(inspect(root, "--json", "--split", "test").out);
  assert.deepEqual([train.length, held.length], [14, 5]);
  assert.equal(new Set([...train, ...held].map((row) => row.row)).size, 19);
  assert.deepEqual(rowsOf(inspect(root, "--json", "--split", "test", "--limit", "2").out), held.slice(0, 2));
});

test("without --json rows are decoded", () => {
  const { out, err } = inspect(root, "--limit", "1");
  assert.match(
    out,
    /^== row 0 \((train|test)\): \d+ tokens, \d+ without loss\nBelow is an instruction[^]*### Response:\nanswer 0\n\n### End\n/,
  );
  assert.match(err, /1 of 19 rows/);
});

test("before the rows it says what they came to, on standard error", () => {
  const { out, err } = inspect(root, "--limit", "1");
  assert.match(out, /^== row 0/);
  for (const words of [
    "source files:\n  rows.json: 20 rows\n",
    "columns: instruction, output\n",
    'prompt: dolly; an answer ends with "### End"\n',
    "20 rows: 14 to train on, 5 held out, 1 dropped for an empty response, 0 left out because no token carries loss, 0 rejected, 0 cut",
    'EOS (id 256 "<|endoftext|>") a row: 0 at least, 0 in the middle, 0 at most\n',
    'row 0 as it is: "Below is an instruction',
  ])
    assert.ok(err.includes(words), `${err} lacks ${words}`);
  assert.equal(inspect(root, "--json", "--limit", "1").err, "");
});

test("a directory without results, and wrong arguments, are refused", () => {
  assert.match(inspect(directory).err, /UserError: nothing is preprocessed here yet: run `roslin stage preprocess`/);
  assert.match(inspect(root, "--split", "dev").err, /train or test/);
  assert.match(inspect(root, "--limit", "-1").err, /limit/);
  assert.match(inspect().err, /name one directory/);
});

test("a reader that stops reading ends the command quietly", () => {
  const { stdout, stderr, status } = spawnSync(
    "bash",
    ["-o", "pipefail", "-c", '"$0" --input-type=module -e "$1" | head -c 10', process.execPath, scriptOf([root, "--json"])],
    { encoding: "utf8" },
  );
  assert.deepEqual([stdout.length, stderr, status], [10, "", 0]);
});
