import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { clearAttemptFiles } from "../../../infra/process/attempt-files.js";

test("what earlier attempts of a run left is removed by prefix and generation: a late caller spares the newer one's", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "attempt-files-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const names = [
    "roslin-a-g2.sock",
    "roslin-a-g2.weights",
    "roslin-a-g9.weights",
    "roslin-a-g10.weights",
    "roslin-a-g11.sock",
    "roslin-b-g1.weights",
  ];
  for (const name of names) writeFileSync(join(directory, name), "");
  clearAttemptFiles(directory, "roslin-a-", 10);
  assert.deepEqual(
    names.filter((name) => existsSync(join(directory, name))),
    names.slice(3),
  );
});

test("a directory goes whole, and with a link the directory of the same name that it leads to; any other is spared", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "attempt-files-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const [stage, disk] = ["stage", "disk"].map((name) => join(directory, name)) as [string, string];
  const paths = [join(stage, "roslin-a-g1.swap"), join(disk, "roslin-a-g2.swap"), join(disk, "elsewhere"), join(disk, "roslin-a-g4.swap")];
  for (const path of paths) {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "0.swp"), "");
  }
  symlinkSync(paths[1]!, join(stage, "roslin-a-g2.swap"));
  symlinkSync(paths[2]!, join(stage, "roslin-a-g3.swap"));
  symlinkSync(paths[3]!, join(stage, "roslin-a-g4.swap"));
  clearAttemptFiles(stage, "roslin-a-", 4);
  assert.deepEqual(
    paths.map((path) => existsSync(join(path, "0.swp"))),
    [false, false, true, true],
  );
  assert.deepEqual(readdirSync(stage), ["roslin-a-g4.swap"]);
});
