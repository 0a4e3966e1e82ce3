import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { demo } from "../../../cli/commands/demo.js";
import { readEnvironment } from "../../../workers/environment.js";

const root = mkdtempSync(join(tmpdir(), "roslin-demo-options-"));
const home = join(root, "home");
after(() => rmSync(root, { recursive: true }));

const run = (...args: string[]): Promise<number> => demo.run(args, readEnvironment({ ROSLIN_HOME: home }, root));

function file(name: string, rows: readonly object[]): string {
  const path = join(root, name);
  writeFileSync(path, JSON.stringify(rows));
  return path;
}

const row = { instruction: "Say a word.", input: "", output: "word" };

test("options that don't belong together, and rows that cannot be used, are refused before anything is fetched or started", async () => {
  const named = file(
    "strange.json",
    Array.from({ length: 30 }, () => ({ ask: "a", tell: "b" })),
  );
  for (const [args, message] of [
    [["--rows", named], /--rows belongs to --real/],
    [["--real", "--model", root], /--real brings its model/],
    [["--real", "--dataset", named], /--real brings its model, and takes rows by --rows/],
    [["--real", "--rows", join(root, "nowhere.json")], /--rows names a path that does not exist/],
    [["--real", "--rows", named], /columns are of no format.*expected=instruction, input and output.*got=columns ask, tell/],
    [
      [
        "--real",
        "--rows",
        file(
          "few.json",
          Array.from({ length: 19 }, () => row),
        ),
      ],
      /too few rows.*at least 20.*got=19/,
    ],
    [["--real", "--rows", file("none.json", [])], /too few rows.*got=0/],
  ] as const)
    await assert.rejects(run(...args), (error: Error) => error.name === "UserError" && message.test(error.message));
  assert.equal(existsSync(home), false);
});
