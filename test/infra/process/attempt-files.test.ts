import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
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
