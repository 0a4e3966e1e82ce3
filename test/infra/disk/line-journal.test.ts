import assert from "node:assert/strict";
import { appendFileSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { appendLine, appendLineSync, endTornLine, readLines, reopenLines, wholeLines } from "../../../infra/disk/line-journal.js";

function place(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "roslin-lines-"));
  context.after(() => rmSync(directory, { recursive: true }));
  return join(directory, "journal.jsonl");
}

test("a journal gives the values that were added, and none before the first", async (context) => {
  const path = place(context);
  assert.deepEqual(await reopenLines(path), []);
  await appendLine(path, { item: 1 });
  const file = openSync(path, "a");
  appendLineSync(file, { item: 2 });
  closeSync(file);
  assert.deepEqual(await readLines(path), [{ item: 1 }, { item: 2 }]);
});

test("lines that were cut short don't count, and harm no later one", async (context) => {
  const path = place(context);
  await appendLine(path, 1);
  appendFileSync(path, '{"item":\0\0\n{"ite');
  assert.deepEqual(await readLines(path), [1]);
  assert.ok(!readFileSync(path, "utf8").endsWith("\n"), "reading changes nothing");
  assert.deepEqual(await reopenLines(path), [1]);
  await appendLine(path, 2);
  assert.deepEqual(await readLines(path), [1, 2]);
});

test("a torn line that isn't JSON is ended, too, and counts only with its end", async (context) => {
  const path = place(context);
  appendFileSync(path, "1 100\n1");
  assert.deepEqual(wholeLines(readFileSync(path, "utf8")), ["1 100"]);
  await endTornLine(path);
  appendFileSync(path, "2 50\n");
  assert.deepEqual(wholeLines(readFileSync(path, "utf8")), ["1 100", "1", "2 50"]);
});

test("a journal that cannot be read is an error, not an empty one", async (context) => {
  const path = place(context);
  await assert.rejects(readLines(join(path, "..")), { code: "EISDIR" });
});
