import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { matchFiles } from "../../../core/dataset/glob.js";

/** What `datasets` 5.2 resolves each pattern to among these files; null: it refuses the pattern. */
const { files, patterns } = JSON.parse(
  readFileSync(new URL("../../../../test/reference/dataset-patterns.json", import.meta.url), "utf8"),
) as { readonly files: readonly string[]; readonly patterns: readonly (readonly [pattern: string, matched: readonly string[] | null])[] };

/** Files that `datasets` passes over after matching, unless they are named: the selection does it, not the pattern. */
const PASSED_OVER = ["README.md", "config.json", "dataset_infos.json"];
const nameOf = (path: string): string => path.split("/").at(-1)!;

for (const [pattern, matched] of patterns)
  test(`the pattern ${pattern} matches what it matches in datasets`, () => {
    if (matched === null)
      return assert.throws(() => matchFiles(pattern, files, "d"), { name: "UserError", message: /\*\* must be a whole part/ });
    const found = matchFiles(pattern, files, "d").filter((path) => !PASSED_OVER.includes(nameOf(path)) || nameOf(path) === nameOf(pattern));
    // a file that is called like a pattern is taken when the pattern matches nothing
    assert.deepEqual(found, matched.length === 0 && files.includes(pattern) && !pattern.startsWith(".") ? [pattern] : matched.toSorted());
  });

test("braces mean either, where no file is called so", () => {
  assert.deepEqual(matchFiles("{a,b}.json", ["a.json", "b.json", "c.json"], "d"), ["a.json", "b.json"]);
  assert.deepEqual(matchFiles("{de,en}/{x,y}*.json", ["de/x1.json", "en/y.json", "fr/x.json"], "d"), ["de/x1.json", "en/y.json"]);
  assert.deepEqual(matchFiles("{a,b}.json", ["a.json", "{a,b}.json"], "d"), ["{a,b}.json"]);
});

test("no pattern takes long", { timeout: 2000 }, () => {
  const path = `${"a".repeat(200)}/${"a".repeat(200)}`;
  assert.deepEqual(matchFiles(`${"*a".repeat(60)}*b/**/${"*a".repeat(60)}*b`, [path], "d"), []);
  assert.deepEqual(matchFiles(`${"**/".repeat(60)}b`, [path.replaceAll("a", "a/").replaceAll("//", "/")], "d"), []);
  assert.throws(() => matchFiles("{a,b}".repeat(40), [path], "d"), /its braces stand for more than 256 patterns/);
});

test("a pattern that leaves the dataset is refused by name", () => {
  for (const [pattern, problem] of [
    ["../rows.json", /leaves the dataset/],
    ["data/../../rows.json", /leaves the dataset/],
    ["/etc/rows.json", /must be relative/],
    ["https://host/rows.json", /files of the dataset itself/],
    ["zip://*.json::rows.zip", /files of the dataset itself/],
  ] as const)
    assert.throws(
      () => matchFiles(pattern, ["rows.json"], "hf://d"),
      (error: Error) => problem.test(error.message) && error.message.includes(`source=hf://d, pattern=${pattern}`),
    );
});
